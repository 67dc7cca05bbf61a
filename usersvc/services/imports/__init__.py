"""Files of other programs that hold users: read, understood, checked. Nothing here knows the database."""
