"""What the public interface is measured against: a bare FastAPI that always answers one balance: no token, no limit, no
ledger. `python -m tests.benchmarks.bare_api PORT`, and the balance as JSON on standard input."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

from charging.web.models import BalanceOut


def main(port: int, balance: str) -> None:
    app, known = FastAPI(), BalanceOut.model_validate_json(balance)

    @app.get("/v1/accounts/{account}/balance")
    async def show_balance(account: str) -> BalanceOut:
        return known

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.read())
