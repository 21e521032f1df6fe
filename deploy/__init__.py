"""What travels with the code as data: rules files, sample data, and what an operator sets up."""
