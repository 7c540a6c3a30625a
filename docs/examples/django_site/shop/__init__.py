"""An app that pushes from a view and from a management command."""
