"""From a row to a push: payload formats, templates, the provider of a row's device, and rows for APNs and for FCM."""
