"""Orders: a service that lets usersvc's users in, and asks it nothing while it serves them."""

import os
from itertools import count
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from usersvc.verify import Claims, TokenVerifier
from usersvc.verify.fastapi import FastAPIAuth

verifier = TokenVerifier(
    issuer=os.environ.get("USERSVC_ISSUER", "http://127.0.0.1:8000"),
    audience=os.environ.get("USERSVC_AUDIENCE", "usersvc"),
)
auth = FastAPIAuth(verifier)
SignedIn = Annotated[Claims, Depends(auth.current_claims)]
may_manage = [Depends(auth.require_permission("content:manage"))]
is_moderator = [Depends(auth.require_role("moderator"))]

app = FastAPI(title="orders")
numbers = count(1)
orders: dict[int, "Order"] = {}


class Wanted(BaseModel):
    what: str


class Order(Wanted):
    number: int
    owner: str


@app.post("/orders", status_code=201)
async def order(wanted: Wanted, who: SignedIn) -> Order:
    number = next(numbers)
    orders[number] = Order(what=wanted.what, number=number, owner=who.subject)
    return orders[number]


@app.get("/orders/mine")
async def list_mine(who: SignedIn) -> list[Order]:
    return [order for order in orders.values() if order.owner == who.subject]


@app.get("/orders", dependencies=may_manage)
async def list_all() -> list[Order]:
    return list(orders.values())


@app.delete("/orders/{number}", status_code=204, dependencies=is_moderator)
async def cancel(number: int) -> None:
    if orders.pop(number, None) is None:
        raise HTTPException(404, "There is no such order.")
