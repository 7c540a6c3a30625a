"""From a row to a push: payload formats, templates, whose device a row is, and the rows for APNs and for FCM."""
