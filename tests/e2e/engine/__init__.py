"""`PushEngine`, its journal and its rules, over the wire or in virtual time."""
