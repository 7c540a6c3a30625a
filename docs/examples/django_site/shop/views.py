"""A view that sends a push. It is synchronous, and works under WSGI and ASGI: the client has its own loop and thread."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from loop_thread import pusher

from pushcore import Notification


@csrf_exempt  # the example has no session; a real view has its own authentication
@require_POST
def push(request: HttpRequest) -> JsonResponse:
    """Send a push to the device in the form's field `token`."""
    alert = {"title": request.POST.get("title", "")}
    result = pusher().send(Notification(request.POST.get("token", ""), {"aps": {"alert": alert}}))
    return JsonResponse(result.to_dict(), status=200 if result.ok else 502)
