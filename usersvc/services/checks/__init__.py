"""What `usersvc doctor` looks at, a module a subject; doctor.py has them in order. None changes anything."""
