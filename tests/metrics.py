"""What /metrics says, taken apart by prometheus-client's own parser."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


def families(text: str) -> dict[str, Metric]:
    """By the name that stands in the text; the parser takes `_total` off a counter's."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(text)
    }


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """Of one sample; None where there is none."""
    return samples(text).get((name, frozenset(labels.items())))


def total(text: str, name: str, **labels: str) -> float:
    """Of all samples that have these labels."""
    wanted = frozenset(labels.items())
    return sum(found for (called, its), found in samples(text).items() if called == name and wanted <= its)
