"""Signatures: four eyes, one per person and role, for exactly what was shown, for a limited time."""

import pytest

from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import AuditEntry
from fleet.models.people import Role
from rollouts.selectors import signatures
from rollouts.services import approvals, deciding, drafting
from tests.rollouts.conftest import DAY_LATER, actor_of, sign_all

pytestmark = pytest.mark.django_db

STAGES = [{"name": "canary", "share": 0.5, "required_roles": ["ml", "qa"]}]


@pytest.fixture
def submitted(draft, make_fleet, cast, now):
    """A rollout that awaits two signatures."""
    make_fleet(4)
    rollout = draft(stages=STAGES)
    drafting.submit(rollout, by=cast.manager, actor=actor_of(cast.manager), now=now)
    return rollout


@pytest.fixture
def sign(submitted, now):
    """Sign the submitted rollout: `sign(cast.qa, "qa")`."""

    def go(person, role="", *, at=now, remark="Read it.", evidence_hash=None):
        shown = evidence_hash if evidence_hash is not None else signatures.submission(submitted).sha256
        return approvals.sign(
            submitted, by=person, actor=actor_of(person), now=at, remark=remark, evidence_hash=shown, role=role
        )

    return go


def begin(rollout, cast, at):
    return deciding.start(rollout, by=cast.manager, actor=actor_of(cast.manager), now=at)


def test_a_signature_is_kept_with_person_role_remark_and_hash(sign, submitted, cast, now):
    approval = sign(cast.qa, "qa")
    assert (approval.user, approval.role, approval.remark) == (cast.qa, "qa", "Read it.")
    entry = AuditEntry.objects.get(action="rollout.signed")
    assert entry.evidence_hash == signatures.submission(submitted).sha256
    assert entry.user == cast.qa


def test_the_only_role_that_is_left_to_a_person_need_not_be_named(sign, cast):
    assert sign(cast.ml).role == "ml"


def test_the_creator_cannot_sign_even_with_the_role(sign, cast):
    cast.manager.roles = [Role.RELEASE_MANAGER, Role.QA]
    cast.manager.save()
    with pytest.raises(NotAllowed) as refused:
        sign(cast.manager, "qa")
    assert refused.value.code == "four_eyes"


def test_nobody_signs_twice_and_no_role_does(sign, cast):
    cast.qa.roles = [Role.QA, Role.ML]
    cast.qa.save()
    sign(cast.qa, "qa")
    for person, role in ((cast.qa, "qa"), (cast.qa, "ml")):
        with pytest.raises(StateConflict) as refused:
            sign(person, role)
        assert refused.value.code == "already_signed"
    cast.ml.roles = [Role.ML, Role.QA]
    cast.ml.save()
    with pytest.raises(StateConflict, match="The role qa has signed"):
        sign(cast.ml, "qa")


def test_a_role_must_be_held_and_asked(sign, cast):
    with pytest.raises(NotAllowed, match="role ml"):
        sign(cast.qa, "ml")
    with pytest.raises(NotAllowed):
        sign(cast.administrator, "qa")
    with pytest.raises(InvalidInput, match="not asked"):
        sign(cast.security, "security")


def test_a_remark_and_a_hash_are_required(sign, cast):
    with pytest.raises(InvalidInput) as refused:
        sign(cast.qa, "qa", remark=" ", evidence_hash="")
    assert set(refused.value.errors) == {"remark", "evidence_hash"}


def test_what_changed_since_it_was_shown_cannot_be_signed(sign, submitted, cast, now):
    shown = signatures.submission(submitted).sha256
    manager = {"by": cast.manager, "actor": actor_of(cast.manager), "now": now}
    drafting.revise(submitted, **manager)
    with pytest.raises(StateConflict) as refused:
        sign(cast.qa, "qa", evidence_hash=shown)
    assert refused.value.code == "nothing_to_sign"
    drafting.update_draft(submitted, change_record={**submitted.change_record, "why": "Something else"}, **manager)
    drafting.submit(submitted, **manager)
    with pytest.raises(StateConflict) as refused:
        sign(cast.qa, "qa", evidence_hash=shown)
    assert refused.value.code == "evidence_changed"
    with pytest.raises(InvalidInput, match="No document"):
        sign(cast.qa, "qa", evidence_hash="0" * 64)


def test_a_rollout_starts_only_with_every_signature_that_is_asked(submitted, sign, cast, now):
    sign(cast.qa, "qa")
    with pytest.raises(StateConflict, match="Signatures are missing: ml") as refused:
        begin(submitted, cast, now)
    assert refused.value.code == "approvals_missing"
    sign(cast.ml, "ml")
    assert {lane.state for lane in begin(submitted, cast, now)} == {"deploying"}


def test_signatures_of_a_revised_rollout_do_not_count_for_the_next_version(submitted, cast, now):
    sign_all(submitted, cast, now)
    manager = {"by": cast.manager, "actor": actor_of(cast.manager), "now": now}
    drafting.revise(submitted, **manager)
    drafting.submit(submitted, **manager, reason="again")
    with pytest.raises(StateConflict, match="ml, qa"):
        begin(submitted, cast, now)


def test_a_signature_runs_out(submitted, cast, now):
    sign_all(submitted, cast, now)
    with pytest.raises(StateConflict, match="ml, qa"):
        begin(submitted, cast, now + 8 * DAY_LATER)
