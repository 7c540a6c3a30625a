"""Django's command line: `python manage.py push --title Hi TOKEN …`, `python manage.py runserver`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.append(
        str(Path(__file__).parents[1])
    )  # for loop_thread; in your project it is in the same folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    execute_from_command_line(sys.argv)
