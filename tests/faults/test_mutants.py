"""The product without one of its protections is caught by the checker, in a run that the product itself passes."""

from pathlib import Path

import pytest

from faults.inprocess.mutant_trials import SCENARIOS, compared_on
from faults.mutants import Cut, Outdated, Protection

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(120)]


def test_every_protection_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(Protection)


@pytest.mark.parametrize("protection", Protection)
async def test_a_mutant_is_caught_and_the_product_is_clean(
    protection: Protection, postgres_store: str, tmp_path: Path
) -> None:
    (comparison,) = await compared_on(postgres_store, tmp_path, [protection])
    assert comparison.product.wrong == []
    assert comparison.mutant.wrong != []
    assert comparison.passed


def test_a_mutation_that_finds_nothing_to_take_away_says_so() -> None:
    with pytest.raises(Outdated), Cut("claims:_CLAIM", "no such text", "nor this").applied():
        pass
