"""The partial that shows where a change lies, on what every writer of attributions leaves behind."""

import pytest
from django.template.loader import render_to_string

from drift.templatetags.attributions import share_text, shown_attributions


def estimate(value, half=0.5):
    return {"value": value, "lower": value - half, "upper": value + half}


def component(name, value, share, control=0.0):
    return {
        "name": name,
        "treated": estimate(value + control),
        "control": estimate(control),
        "difference": estimate(value),
        "share": share,
    }


WHOLE = {
    "metric": "energy_mean",
    "total": component("total", 8.0, 1.0),
    "components": [
        component("throttled", -1.0, -0.125),
        component("within", 9.0, 1.125),
        component("fallback", 0.1, 0),
    ],
    "explained_share": 1.0,
    "unexplained_share": 0.0,
    "n_treated": 12,
    "n_control": 11,
    "readings": [{"cause": "model_or_runtime", "words": "under like conditions it differs", "share": 1.125}],
    "caveat": "Shares prove no cause.",
}


def rendered(attribution, **more):
    return render_to_string("drift/_attribution.html", {"attribution": attribution, **more})


def test_components_stand_in_order_of_size_with_bars_to_the_side_of_their_sign():
    [shown] = shown_attributions(WHOLE)
    assert [line.label for line in shown.lines] == ["Under like conditions", "Throttling", "Fallback"]
    within, throttling, fallback = shown.lines
    assert within.bar.start == 50.0 and within.bar.width > 40
    assert throttling.bar.start < 50.0 and throttling.bar.start + throttling.bar.width == pytest.approx(50.0)
    assert (within.value, throttling.value) == ("+9.00 mJ", "−1.00 mJ")
    assert within.interval == "+8.50 to +9.50 mJ"
    assert throttling.shown and not fallback.shown


def test_the_card_says_the_change_its_parts_and_that_they_prove_nothing():
    text = rendered(WHOLE)
    assert "+8.00 mJ" in text and "on 12 devices against 11 as control" in text
    assert "Under like conditions it differs" in text and "112 % of the change" in text
    assert "they describe and prove no cause" in text


def test_parts_that_have_no_share_are_named_in_one_line():
    still = {**component("power_mode", 0.0, 0.0), "difference": {"value": 0.0, "lower": 0.0, "upper": 0.0}}
    attribution = {**WHOLE, "components": [*WHOLE["components"], still]}
    [shown] = shown_attributions(attribution)
    assert shown.nothing == ["power modes"] and len(shown.lines) == 3
    assert "No part in it: power modes." in rendered(attribution)


def test_an_attribution_by_hardware_target_shows_each():
    text = rendered({"orin-nx-16": WHOLE, "hailo-8": {**WHOLE, "n_control": 0}})
    assert "<h3>orin-nx-16</h3>" in text and "<h3>hailo-8</h3>" in text
    assert "against their own past, without control" in text


def test_an_attribution_without_a_decomposition_shows_its_readings_and_where_it_is_concentrated():
    text = rendered(
        {
            "readings": [{"cause": "interaction", "words": "one board alone", "share": None}],
            "concentration": [
                {
                    "label": "Firmware",
                    "value": "r37",
                    "affected": 5,
                    "of": 6,
                    "others": 1,
                    "of_others": 20,
                    "p_value": 2e-4,
                }
            ],
            "caveat": "",
        }
    )
    assert "One board alone" in text and "p &lt; 0.001" in text
    assert "Firmware: r37" in text and "5 of 6 devices" in text and "1 of 20" in text
    assert "<table" not in text


def test_what_a_change_is_concentrated_on_leads_into_explore(now):
    found = {"concentration": [{"label": "Firmware", "value": "r37"}, {"label": "Driver", "value": "not reported"}]}
    text = rendered(found, workload="lane-assist", since=now)
    assert '"/explore/?workload=lane-assist&amp;firmware_version=r37&amp;from=2026-03-02T12:00:00Z">r37</a>' in text
    assert "Driver: not reported" in text
    assert "Firmware: r37" in rendered(found), "without a workload there is no address"


def test_a_change_that_is_not_shown_has_no_shares():
    nothing = {**WHOLE, "explained_share": None, "unexplained_share": None}
    assert "not shown to differ from zero" in rendered(nothing)


def test_nothing_is_shown_of_nothing():
    assert rendered(None).strip() == rendered({}).strip() == ""


@pytest.mark.parametrize(("share", "text"), [(0.126, "13 %"), (-0.284, "−28 %"), (-0.001, "0 %"), (None, "–")])
def test_shares_are_written_with_a_real_minus(share, text):
    assert share_text(share) == text
