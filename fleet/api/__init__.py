"""The REST API of the fleet app, one file per noun: entry points validate, call a service, and answer."""
