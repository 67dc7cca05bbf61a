"""`GET /users/me` on PostgreSQL, one process, the server beside it with its durability."""

from bench.finding import Finding, Run
from bench.peers.async_session import OverAsyncSession
from bench.peers.fastapi_users import FastapiUsers
from bench.questions.me import compare
from bench.service import Usersvc
from tests.servers import postgresql

_AGAINST = {"me-pg-fastapi-users": FastapiUsers.name, "me-asyncpg": OverAsyncSession.name}


def ask(run: Run) -> Finding:
    with postgresql(durable=True) as server:
        address = server.address(server.new_database())
        usersvc = Usersvc(run.folder, database=address)
        contenders = [
            usersvc,
            FastapiUsers(run.folder, database=server.address(server.new_database())),
            OverAsyncSession(run.folder, usersvc, database=address),
        ]
        finding = Finding("`GET /users/me`, PostgreSQL, one process", "requests/s")
        [[version]] = server.execute("SHOW server_version")
        finding.versions["PostgreSQL"] = str(version)
        return compare(finding, contenders, _AGAINST, run)
