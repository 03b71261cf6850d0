"""Python clients for python.test.mjs. Reads one call a line, as JSON, and writes one result a line: what the program got.

Its argument is the Python code of docs/clients.md, which is run as it stands there.
"""

import json
import sys
import threading
import uuid

import httpx
import requests
import stripe
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError
from urllib3.util.retry import Retry

SHOWN = {"Retry": Retry, "MaxRetryError": MaxRetryError, "httpx": httpx, "tenacity": tenacity}
exec(sys.argv[1], SHOWN)


def told(status, body):
    """The status, and the code of the problem where the answer is the filter's own."""
    try:
        members = json.loads(body)
        is_problem = members["type"].startswith("/.well-known/idempotency#")
    except (ValueError, KeyError, TypeError, AttributeError):
        is_problem = False
    return f"{status} {members['code']}" if is_problem else str(status)


def stripe_client(call):
    http_client = stripe.RequestsClient(timeout=call["timeout"])
    client = stripe.StripeClient(
        "sk_test_token", base_addresses={"api": call["url"]}, max_network_retries=3, http_client=http_client
    )
    try:
        intent = client.v1.payment_intents.capture("pi_1", {"amount_to_capture": 2000})
        return str(intent.last_response.code)
    except stripe.APIConnectionError:
        return "APIConnectionError"
    except stripe.StripeError as error:
        code = ((error.json_body or {}).get("error") or {}).get("code")
        return f"{error.http_status} {code}" if code else str(error.http_status)


def posted(call, retries):
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retries))
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Authorization": "Bearer sk_test_token"}
        try:
            response = session.post(call["url"] + "/orders", json=call["order"], headers=headers, timeout=call["timeout"])
            return told(response.status_code, response.text)
        except requests.RequestException as error:
            return type(error).__name__


STATUSES = [429, 500, 502, 503, 504]


def requests_plain(call):
    return posted(call, Retry(total=3, allowed_methods={"POST"}, status_forcelist=STATUSES, backoff_factor=0.2))


def requests_told(call):
    return posted(call, SHOWN["retries"])


def httpx_tenacity(call):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    tokens = iter(call["tokens"])

    @SHOWN["as_told"]
    def create():
        with httpx.Client(timeout=call["timeout"]) as client:
            token = {"Authorization": f"Bearer {next(tokens)}"}
            return client.post(call["url"] + "/orders", json=call["order"], headers=headers | token)

    try:
        response = create()
        return told(response.status_code, response.text)
    except httpx.TransportError as error:
        return type(error).__name__


CLIENTS = {
    "stripe": stripe_client,
    "requests": requests_plain,
    "requests-told": requests_told,
    "httpx": httpx_tenacity,
}
writing = threading.Lock()


def run(call):
    try:
        result = CLIENTS[call["client"]](call)
    except Exception as error:
        result = f"bug in calls.py: {error!r}"
    with writing:
        print(json.dumps({"id": call["id"], "got": result}), flush=True)


for line in sys.stdin:
    threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
