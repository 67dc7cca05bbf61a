"""`python -m usersvc` is `usersvc`."""

from usersvc.cli.app import main

if __name__ == "__main__":
    main()
