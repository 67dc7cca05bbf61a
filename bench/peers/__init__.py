"""What usersvc is measured against, each as its own documentation sets it up."""
