"""The wizard that plans a rollout: its fields, the form that reads them, the preview, and its pages."""
