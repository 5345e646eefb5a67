"""The table of who acts, who is asked and who may decide, in each framework."""
