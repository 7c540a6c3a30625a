"""The URL of the view."""

from __future__ import annotations

from django.urls import path

from shop.views import push

urlpatterns = [path("push", push)]
