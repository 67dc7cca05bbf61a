"""What is asked of usersvc and its peers, a module for each question."""
