"""The tables of the rollouts app, one file per subject."""

from rollouts.models.approvals import Approval
from rollouts.models.cohorts import CohortMember, DrawnMember, Holdback, StageRun
from rollouts.models.controllers import Controller
from rollouts.models.deliveries import Delivery, DeliveryStep
from rollouts.models.evidence import Evidence, Look, Recommendation
from rollouts.models.qualifications import CalibrationResult, Qualification
from rollouts.models.rollouts import Lane, LaneTransition, Rollout, Stage
from rollouts.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "Approval",
    "CalibrationResult",
    "CohortMember",
    "Controller",
    "Delivery",
    "DeliveryStep",
    "DrawnMember",
    "Evidence",
    "Holdback",
    "Lane",
    "LaneTransition",
    "Look",
    "Qualification",
    "Recommendation",
    "Rollout",
    "Stage",
    "StageRun",
    "WebhookDelivery",
    "WebhookEndpoint",
]
