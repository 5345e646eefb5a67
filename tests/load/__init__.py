"""Mixed load on two servers behind a balancer: see `tests.load.__main__`."""
