#!/usr/bin/env python3
"""Writes the Grafana dashboards from the tables of panels below.

Each dashboard becomes `<name>.json` beside this file. With --check nothing is written, and the program fails if a file is
not what it would write. An agent and the jobs of its server have the same `instance` label (see docs/operations.md), so a
panel shows what either of them exports.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RPO = {"thresholds": [(None, "green"), (26 * 3600, "red")]}
ZERO_IS_GOOD = {"thresholds": [(None, "green"), (1, "red")]}


def panel(title, unit, *queries, kind="timeseries", width=12, height=8, about="", stack=False, thresholds=()):
    """A row of a table: one panel. A query is an expression, or an expression and a legend. Every metric in an expression is
    written with braces: `up{}`. The servers that were chosen are added there.
    """
    queries = [(query, "") if isinstance(query, str) else query for query in queries]
    defaults = {"unit": unit}
    if kind == "timeseries":
        stacking = {"mode": "normal" if stack else "none"}
        defaults["custom"] = {"fillOpacity": 20 if stack else 0, "stacking": stacking}
    if thresholds:
        steps = [{"value": value, "color": colour} for value, colour in thresholds]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if kind == "timeseries":
            defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "expr": expression.replace("{", '{instance=~"$instance", ').replace(", }", "}"),
            "legendFormat": legend,
            **({"instant": True, "format": "table"} if kind == "table" else {}),
        }
        for place, (expression, legend) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "gridPos": {"w": width, "h": height},
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def stat(title, unit, query, **more):
    """A row of a table: one number."""
    return panel(title, unit, query, **{"kind": "stat", "width": 6, "height": 5, **more})


def by(labels, expression, how="max", legend=None):
    """A query: an expression, aggregated by labels. The legend shows the labels unless it is given."""
    shown = " ".join(f"{{{{{label}}}}}" for label in labels.split(", ")) if legend is None else legend
    return f"{how} by ({labels}) ({expression})", shown


def rate(labels, counter):
    """A query: the growth of a counter per second, by labels."""
    return by(labels, f"rate({counter}{{}}[$__rate_interval])", "sum")


FLEET = [
    stat("Servers", "short", "count(count by (instance) (lockstone_build_info{}))"),
    stat(
        "Without a point for 26 hours",
        "short",
        "count(instance:lockstone_newest_point_age_seconds:min{} > 26 * 3600) or vector(0)",
        **ZERO_IS_GOOD,
    ),
    stat(
        "Kinds of job whose last one failed",
        "short",
        "sum(instance_kind:lockstone_last_job_failed:bool{})",
        **ZERO_IS_GOOD,
    ),
    stat(
        "Jobs running",
        "short",
        "sum(max by (instance, kind) (sum by (instance, kind, job) (lockstone_jobs_running{})))",
    ),
    panel(
        "Age of the newest point",
        "s",
        ("instance:lockstone_newest_point_age_seconds:min{}", "{{instance}}"),
        about="What would be lost now.",
        **RPO,
    ),
    panel(
        "Jobs ended in a day",
        "short",
        by("status", "max by (instance, kind, status) (increase(lockstone_jobs_total{}[1d]))", "sum"),
        stack=True,
    ),
    panel("Duration of the last backup", "s", by("instance", 'lockstone_job_duration_seconds{kind="backup"}')),
    panel("Free space of the cache folder", "bytes", by("instance", "lockstone_cache_free_bytes{}", "min")),
    panel("Recovery points by tag", "short", by("instance, tag", "lockstone_points{}", legend=""), kind="table"),
    panel("Versions", "short", by("version", "lockstone_build_info{}", "count", legend=""), kind="table"),
]

SERVER = [
    stat(
        "Newest point",
        "s",
        "min(lockstone_newest_point_age_seconds{})",
        about="Its age: what would be lost now.",
        **RPO,
    ),
    stat(
        "Last backup completed",
        "dateTimeFromNow",
        'max(lockstone_last_success_timestamp_seconds{kind="backup"}) * 1000',
    ),
    stat("Deduplication", "percentunit", "max(lockstone_job_dedup_ratio{})"),
    stat("Stored of what was new", "percentunit", "max(lockstone_job_compression_ratio{})"),
    panel("Jobs running", "short", by("kind, state", "lockstone_jobs_running{}"), width=8),
    panel("Jobs ended", "short", by("kind, status", "lockstone_jobs_total{}"), width=8),
    panel("Duration", "s", by("kind", "lockstone_job_duration_seconds{}"), width=8),
    panel("Bytes of the last backup", "bytes", by("what", 'lockstone_job_bytes{kind="backup"}')),
    panel("Files of the last backup", "short", by("outcome", 'lockstone_job_files{kind="backup"}')),
    panel("Bytes of the last restore", "bytes", by("what", 'lockstone_job_bytes{kind="restore"}')),
    panel("Files of the last restore", "short", by("outcome", 'lockstone_job_files{kind="restore"}')),
    panel("Warnings of the last job", "short", by("kind", "lockstone_job_warnings{}")),
    panel("Restarts of the last job", "short", by("kind", "lockstone_job_restarts{}")),
]

NARROW = "The time that other stages wait for room in a stage's inbox, per second: the highest is the bottleneck."
BUSY = "Threads' worth of work, waits for a device or the store included."
FULL = "sum by (stage) (lockstone_stage_queue_messages{}) / sum by (stage) (lockstone_stage_queue_capacity_messages{})"
PIPELINE = [
    panel(
        "Where the pipeline is narrow",
        "percentunit",
        ("instance_stage:lockstone_stage_awaited:rate1m{}", "{{stage}}"),
        about=NARROW,
    ),
    panel(
        "Busy threads", "short", ("instance_stage:lockstone_stage_busy:rate1m{}", "{{stage}}"), about=BUSY, stack=True
    ),
    panel(
        "Waiting for work (starved)",
        "short",
        ("instance_stage:lockstone_stage_starved:rate1m{}", "{{stage}}"),
        stack=True,
    ),
    panel(
        "Waiting for room (blocked)",
        "short",
        ("instance_stage:lockstone_stage_blocked:rate1m{}", "{{stage}}"),
        stack=True,
    ),
    panel("Bytes through each stage", "Bps", rate("stage", "lockstone_stage_bytes_total")),
    panel("Messages through each stage", "short", rate("stage", "lockstone_stage_items_total")),
    panel("Inboxes, how full", "percentunit", (FULL, "{{stage}}")),
    panel("Threads", "short", by("stage", "lockstone_stage_threads{}", "sum")),
    panel(
        "Memory budget",
        "bytes",
        by("lane", "lockstone_budget_used_bytes{}", "sum", "{{lane}}, used"),
        by("lane", "lockstone_budget_limit_bytes{}", "sum", "{{lane}}, limit"),
    ),
    panel("The job's bytes", "Bps", rate("what", "lockstone_bytes_total")),
    panel("The job's files", "short", rate("outcome", "lockstone_files_total")),
    panel(
        "Faults, panics and restarts",
        "short",
        by("stage", "lockstone_stage_faults_total{}", "sum", "{{stage}}, faults"),
        by("stage", "lockstone_stage_panics_total{}", "sum", "{{stage}}, panics"),
        ("sum(lockstone_restarts_total{})", "restarts"),
    ),
]

LIMIT = "lockstone_throttle_limit_bytes_per_second{}"
FLOW = "instance_direction:lockstone_store_bytes:rate1m{}"
USED = f"{FLOW} / on (instance, direction) min by (instance, direction) ({LIMIT})"
HELD = "sum by (lane) (lockstone_budget_used_bytes{}) / sum by (lane) (lockstone_budget_limit_bytes{})"
UPLOADER = 'stage=~"uploader|fetcher"'
THROTTLING = [
    panel("Limit in force", "Bps", by("direction", LIMIT, "min"), about="+Inf: unlimited; 0: paused."),
    panel("Bytes to and from the store", "Bps", (FLOW, "{{direction}}")),
    panel("Share of the limit that is used", "percentunit", (USED, "{{instance}} {{direction}}")),
    panel(
        "Requests that wait for the throttle",
        "short",
        rate("direction", "lockstone_throttle_waited_seconds_total"),
        about="On average, at a time.",
    ),
    panel(
        "What the throttle holds up",
        "short",
        (f"instance_stage:lockstone_stage_busy:rate1m{{{UPLOADER}}}", "{{stage}}, busy"),
        by("stage", f"instance_stage:lockstone_stage_awaited:rate1m{{{UPLOADER}}}", "sum", "{{stage}}, awaited"),
    ),
    panel("Memory budget held", "percentunit", (HELD, "{{lane}}")),
]

REQUESTS, VERB_AND_OUTCOME = rate("verb, outcome", "lockstone_store_requests_total")
LATENCY, _ = rate("verb, le", "lockstone_store_request_duration_seconds_bucket")
NEWEST = "max by (instance) (lockstone_newest_point_timestamp_seconds{}) * 1000"
VAULT = [
    panel("Requests", "reqps", (f"{REQUESTS} > 0", VERB_AND_OUTCOME)),
    panel("Requests that fail", "percentunit", ("instance:lockstone_store_errors:ratio_rate5m{}", "{{instance}}")),
    panel(
        "Latency",
        "s",
        (f"histogram_quantile(0.5, {LATENCY})", "{{verb}}, median"),
        (f"histogram_quantile(0.99, {LATENCY})", "{{verb}}, 99 %"),
    ),
    panel("Retries", "reqps", rate("verb", "lockstone_store_retries_total")),
    panel("Index lookups", "short", rate("outcome", "lockstone_index_lookups_total")),
    panel("Chunks that backups read", "short", rate("outcome", "lockstone_chunks_total")),
    panel(
        "Index",
        "short",
        by("instance", "lockstone_index_chunks{}", legend="{{instance}}, chunks"),
        by("instance", "lockstone_index_bytes{}", legend="{{instance}}, bytes"),
    ),
    panel("Cache folder's file system, free", "percentunit", ("instance:lockstone_cache_free:ratio{}", "{{instance}}")),
    panel("Recovery points", "short", by("tag", "lockstone_points{}")),
    panel("Newest point", "dateTimeFromNow", (NEWEST, "{{instance}}"), kind="stat"),
    panel(
        "Damaged or missing packs",
        "short",
        by("instance", "lockstone_vault_distrusted_packs{}"),
        about="Found by this server, and not stored again yet. The next backup heals what the files still have.",
        **ZERO_IS_GOOD,
    ),
]

# The title, what it is about, the panels, and whether it shows the last hour instead of the last week.
DASHBOARDS = {
    "fleet": ("Lockstone: fleet", "All servers: who is protected, and who is not.", FLEET, False),
    "server": (
        "Lockstone: one server's jobs",
        "The jobs of a server, as its agent knows them from their records.",
        SERVER,
        False,
    ),
    "pipeline": (
        "Lockstone: pipeline",
        "Where a running job waits. From the job's own process: --metrics-listen.",
        PIPELINE,
        True,
    ),
    "throttling": (
        "Lockstone: throttling",
        "The limits, what goes over the wire, and who waits. From the job's own process: --metrics-listen.",
        THROTTLING,
        True,
    ),
    "vault": ("Lockstone: vault", "The vault's store, the local index and cache, and what is kept.", VAULT, False),
}


def placed(panels):
    """The panels with their numbers and places: in rows, from the left."""
    x, y, row = 0, 0, 0
    for number, one in enumerate(panels, 1):
        size = one["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, row = 0, y + row, 0
        yield {"id": number, **one, "gridPos": {"x": x, "y": y, **size}}
        x, row = x + size["w"], max(row, size["h"])


def dashboard(name):
    """The document of a dashboard."""
    title, about, panels, last_hour = DASHBOARDS[name]
    instance = {
        "name": "instance",
        "label": "Server",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(lockstone_build_info, instance)", "refId": "instance"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": f"lockstone-{name}",
        "title": title,
        "description": about,
        "tags": ["lockstone"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "time": {"from": "now-1h" if last_hour else "now-7d", "to": "now"},
        "refresh": "10s" if last_hour else "1m",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                instance,
            ]
        },
        "links": [{"type": "dashboards", "tags": ["lockstone"], "title": "Lockstone", "includeVars": True}],
        "panels": list(placed(panels)),
    }


def main():
    """Writes or checks the files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true")
    check = options.parse_args().check
    stale = []
    for name in DASHBOARDS:
        path = HERE / f"{name}.json"
        text = json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    stale += [path.name for path in HERE.glob("*.json") if path.stem not in DASHBOARDS]
    if stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
