# mypy: ignore-errors
"""Sends with exponent-server-sdk, unmodified, and fetches the receipts. Standard input is a list of jobs, standard output what came
of each."""

import json
import os
import sys

import exponent_server_sdk as sdk
import requests


def run(job):
    """What came of a job."""
    result = {"tickets": [], "receipts": {}, "errors": [], "raised": {}}

    def attempt(call, *arguments):
        try:
            return call(*arguments)
        except sdk.PushServerError as error:
            status = error.response.status_code
            result["errors"] += [
                [one["code"], status, one["message"], one.get("details")] for one in error.errors
            ]
            return []

    session = requests.Session()  # as Expo's README has it
    session.headers.update(
        {"accept": "application/json", "content-type": "application/json", **job["headers"]}
    )
    if job["access_token"]:
        session.headers["Authorization"] = f"Bearer {job['access_token']}"
    limits = {"max_message_count": 1000} if job["whole"] else {}
    limits |= {"max_receipt_count": 2000} if job["ids"] else {}
    client = sdk.PushClient(host=os.environ["EXPO_BASE_URL"], session=session, **limits)
    tickets = attempt(client.publish_multiple, [sdk.PushMessage(**message) for message in job["messages"]])
    for ticket in tickets:
        said = {
            "status": ticket.status,
            "id": ticket.id,
            "message": ticket.message,
            "details": ticket.details,
        }
        result["tickets"].append({name: value for name, value in said.items() if value})
        try:
            ticket.validate_response()
        except sdk.PushTicketError as error:
            result["raised"][ticket.push_message.to] = type(error).__name__
    asked = [sdk.PushTicket(None, "ok", "", None, one) for one in job["ids"] or ()] or tickets
    for receipt in attempt(client.check_receipts_multiple, asked):
        receipt.validate_response()
        result["receipts"][receipt.id] = {"status": receipt.status}
    return result


print(json.dumps([run(job) for job in json.load(sys.stdin)]))
