"""As a program would use the client that is generated for it; mypy refuses what the document does not say."""

import importlib
import json
import os
import pkgutil

import usersvc_client
from usersvc_client import AuthenticatedClient, Client
from usersvc_client.api.own_account import show_me
from usersvc_client.api.sessions import log_in
from usersvc_client.models import FailureInvalidCredentials, LoginIn, SuccessFullUserOut, SuccessTokenPairOut

for module in pkgutil.walk_packages(usersvc_client.__path__, "usersvc_client."):
    importlib.import_module(module.name)

url, email = os.environ["USERSVC_URL"], "moderator@example.org"
with Client(base_url=url) as client:
    refused = log_in.sync(client=client, body=LoginIn(email=email, password="wrong"))
    assert isinstance(refused, FailureInvalidCredentials)
    answer = log_in.sync(client=client, body=LoginIn(email=email, password=os.environ["USERSVC_PASSWORD"]))
    assert isinstance(answer, SuccessTokenPairOut)
with AuthenticatedClient(base_url=url, token=answer.data.access_token) as signed_in:
    mine = show_me.sync(client=signed_in)
    assert isinstance(mine, SuccessFullUserOut)
print(json.dumps({"code": refused.error.code, "email": mine.data.email, "role": mine.data.role}))
