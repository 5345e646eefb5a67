"""Tools: their declaration, the steps they yield, their toolkits, and the search for them."""
