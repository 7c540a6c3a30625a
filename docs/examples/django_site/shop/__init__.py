"""An app that sends pushes from a view and from a management command."""
