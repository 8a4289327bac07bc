"""The pages of the fleet app: shells about devices and releases, whose panels other apps fill in."""
