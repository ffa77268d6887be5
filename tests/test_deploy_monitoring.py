"""The files that draw our gauges, against the gauges that there are."""

import json
import re
from pathlib import Path

import pytest
import yaml

from taskgroup.search.watch.gauges import GAUGES

DEPLOY = Path(__file__).parents[1] / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy/ is not here")


def test_grafana_draws_exactly_the_gauges_that_a_search_publishes() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    drawn = {name for query in queries for name in re.findall(r"ray_(taskgroup_\w+)", query)}
    assert drawn == set(GAUGES)
    assert all('run=~"$run"' in query for query in queries)


def test_grafana_names_only_tags_that_the_gauges_have() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            (name,) = set(re.findall(r"ray_(taskgroup_\w+)", target["expr"]))
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert used <= {*GAUGES[name][1], "NodeAddress"}, "Ray adds the node's address"


def test_grafana_panels_do_not_overlap() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for p in places
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


def test_prometheus_reads_the_list_that_ray_keeps() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["file_sd_configs"][0]["files"][0].endswith("prom_metrics_service_discovery.json")
