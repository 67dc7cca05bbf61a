"""`python -m usersvc` is `usersvc`."""

from usersvc.cli import ctrl_c


def main() -> None:
    ctrl_c.ends_at_once()

    from usersvc.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
