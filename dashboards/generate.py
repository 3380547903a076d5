#!/usr/bin/env python3
"""The Grafana dashboards, from a line or two for each panel.

Writes `<name>.json` beside itself; with --check it only says whether those there are what it would write. An agent and the
jobs of its server are the same `instance` (docs/operations.md says how), so a panel takes what either of them gives.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
WIDTH = 24

# Every query is about the servers chosen.
ON = 'instance=~"$instance"'


def target(expr, legend=""):
    return expr, legend


def panel(title, unit, *targets, kind="timeseries", width=12, height=8, about="", stack=False, thresholds=None):
    return {
        "title": title,
        "unit": unit,
        "targets": targets,
        "kind": kind,
        "width": width,
        "height": height,
        "about": about,
        "stack": stack,
        "thresholds": thresholds,
    }


def stat(title, unit, *targets, **more):
    return panel(title, unit, *targets, kind="stat", **{"width": 6, "height": 5, **more})


def table(title, *targets, **more):
    return panel(title, "short", *targets, kind="table", **{"width": WIDTH, **more})


RPO = [(None, "green"), (26 * 3600, "red")]
ZERO_IS_GOOD = [(None, "green"), (1, "red")]

DASHBOARDS = {
    "fleet": (
        "Lockstone: fleet",
        "All servers: who is protected, and who is not.",
        [
            stat("Servers", "short", target(f"count(count by (instance) (lockstone_build_info{{{ON}}}))")),
            stat(
                "Without a point for 26 hours",
                "short",
                target(f"count(instance:lockstone_newest_point_age_seconds:min{{{ON}}} > 26 * 3600) or vector(0)"),
                thresholds=ZERO_IS_GOOD,
            ),
            stat(
                "Kinds of job whose last one failed",
                "short",
                target(f"sum(instance_kind:lockstone_last_job_failed:bool{{{ON}}})"),
                thresholds=ZERO_IS_GOOD,
            ),
            stat(
                "Jobs running",
                "short",
                target(f"sum(max by (instance, kind) (sum by (instance, kind, job) (lockstone_jobs_running{{{ON}}})))"),
            ),
            panel(
                "Age of the newest point",
                "s",
                target(f"instance:lockstone_newest_point_age_seconds:min{{{ON}}}", "{{instance}}"),
                about="What would be lost now.",
                thresholds=RPO,
            ),
            panel(
                "Jobs ended in a day",
                "short",
                target(
                    f"sum by (status) (max by (instance, kind, status) (increase(lockstone_jobs_total{{{ON}}}[1d])))",
                    "{{status}}",
                ),
                stack=True,
            ),
            panel(
                "Duration of the last backup",
                "s",
                target(
                    f'max by (instance) (lockstone_job_duration_seconds{{{ON}, kind="backup"}})', "{{instance}}"
                ),
            ),
            panel(
                "Free space of the cache folder",
                "bytes",
                target(f"min by (instance) (lockstone_cache_free_bytes{{{ON}}})", "{{instance}}"),
            ),
            table(
                "Recovery points by tag",
                target(f"max by (instance, tag) (lockstone_points{{{ON}}})"),
                width=12,
            ),
            table("Versions", target(f"count by (version) (lockstone_build_info{{{ON}}})"), width=12),
        ],
    ),
    "server": (
        "Lockstone: one server's jobs",
        "The jobs of a server, as its agent knows them from their records.",
        [
            stat(
                "Newest point",
                "s",
                target(f"min(lockstone_newest_point_age_seconds{{{ON}}})"),
                about="Its age: what would be lost now.",
                thresholds=RPO,
            ),
            stat(
                "Last backup completed",
                "dateTimeFromNow",
                target(f'max(lockstone_last_success_timestamp_seconds{{{ON}, kind="backup"}}) * 1000'),
            ),
            stat("Deduplication", "percentunit", target(f"max(lockstone_job_dedup_ratio{{{ON}}})")),
            stat("Stored of what was new", "percentunit", target(f"max(lockstone_job_compression_ratio{{{ON}}})")),
            panel(
                "Jobs running",
                "short",
                target(f"max by (kind, state) (lockstone_jobs_running{{{ON}}})", "{{kind}} {{state}}"),
                width=8,
            ),
            panel(
                "Jobs ended",
                "short",
                target(f"max by (kind, status) (lockstone_jobs_total{{{ON}}})", "{{kind}} {{status}}"),
                width=8,
            ),
            panel(
                "Duration",
                "s",
                target(f"max by (kind) (lockstone_job_duration_seconds{{{ON}}})", "{{kind}}"),
                width=8,
            ),
            panel(
                "Bytes of the last backup",
                "bytes",
                target(f'max by (what) (lockstone_job_bytes{{{ON}, kind="backup"}})', "{{what}}"),
            ),
            panel(
                "Files of the last backup",
                "short",
                target(f'max by (outcome) (lockstone_job_files{{{ON}, kind="backup"}})', "{{outcome}}"),
            ),
            panel(
                "Bytes of the last restore",
                "bytes",
                target(f'max by (what) (lockstone_job_bytes{{{ON}, kind="restore"}})', "{{what}}"),
            ),
            panel(
                "Files of the last restore",
                "short",
                target(f'max by (outcome) (lockstone_job_files{{{ON}, kind="restore"}})', "{{outcome}}"),
            ),
            panel(
                "Warnings of the last job",
                "short",
                target(f"max by (kind) (lockstone_job_warnings{{{ON}}})", "{{kind}}"),
            ),
            panel(
                "Restarts of the last job",
                "short",
                target(f"max by (kind) (lockstone_job_restarts{{{ON}}})", "{{kind}}"),
            ),
        ],
    ),
    "pipeline": (
        "Lockstone: pipeline",
        "Where a running job waits. From the job's own process: --metrics-listen.",
        [
            panel(
                "Where the pipeline is narrow",
                "percentunit",
                target(f"instance_stage:lockstone_stage_awaited:rate1m{{{ON}}}", "{{stage}}"),
                about="The time that other stages wait for room in a stage's inbox, per second: the highest is the bottleneck.",
            ),
            panel(
                "Busy threads",
                "short",
                target(f"instance_stage:lockstone_stage_busy:rate1m{{{ON}}}", "{{stage}}"),
                about="Threads' worth of work, waits for a device or the store included.",
                stack=True,
            ),
            panel(
                "Waiting for work (starved)",
                "short",
                target(f"instance_stage:lockstone_stage_starved:rate1m{{{ON}}}", "{{stage}}"),
                stack=True,
            ),
            panel(
                "Waiting for room (blocked)",
                "short",
                target(f"instance_stage:lockstone_stage_blocked:rate1m{{{ON}}}", "{{stage}}"),
                stack=True,
            ),
            panel(
                "Bytes through each stage",
                "Bps",
                target(
                    f"sum by (stage) (rate(lockstone_stage_bytes_total{{{ON}}}[$__rate_interval]))", "{{stage}}"
                ),
            ),
            panel(
                "Messages through each stage",
                "short",
                target(
                    f"sum by (stage) (rate(lockstone_stage_items_total{{{ON}}}[$__rate_interval]))", "{{stage}}"
                ),
            ),
            panel(
                "Inboxes, how full",
                "percentunit",
                target(
                    f"sum by (stage) (lockstone_stage_queue_messages{{{ON}}})"
                    f" / sum by (stage) (lockstone_stage_queue_capacity_messages{{{ON}}})",
                    "{{stage}}",
                ),
            ),
            panel("Threads", "short", target(f"sum by (stage) (lockstone_stage_threads{{{ON}}})", "{{stage}}")),
            panel(
                "Memory budget",
                "bytes",
                target(f"sum by (lane) (lockstone_budget_used_bytes{{{ON}}})", "{{lane}}, used"),
                target(f"sum by (lane) (lockstone_budget_limit_bytes{{{ON}}})", "{{lane}}, limit"),
            ),
            panel(
                "The job's bytes",
                "Bps",
                target(f"sum by (what) (rate(lockstone_bytes_total{{{ON}}}[$__rate_interval]))", "{{what}}"),
            ),
            panel(
                "The job's files",
                "short",
                target(f"sum by (outcome) (rate(lockstone_files_total{{{ON}}}[$__rate_interval]))", "{{outcome}}"),
            ),
            panel(
                "Faults, panics and restarts",
                "short",
                target(f"sum by (stage) (lockstone_stage_faults_total{{{ON}}})", "{{stage}}, faults"),
                target(f"sum by (stage) (lockstone_stage_panics_total{{{ON}}})", "{{stage}}, panics"),
                target(f"sum(lockstone_restarts_total{{{ON}}})", "restarts"),
            ),
        ],
    ),
    "throttling": (
        "Lockstone: throttling",
        "The limits, what goes over the wire, and who waits. From the job's own process: --metrics-listen.",
        [
            panel(
                "Limit in force",
                "Bps",
                target(f"min by (direction) (lockstone_throttle_limit_bytes_per_second{{{ON}}})", "{{direction}}"),
                about="+Inf: unlimited; 0: paused.",
            ),
            panel(
                "Bytes to and from the store",
                "Bps",
                target(f"instance_direction:lockstone_store_bytes:rate1m{{{ON}}}", "{{direction}}"),
            ),
            panel(
                "Share of the limit that is used",
                "percentunit",
                target(
                    f"instance_direction:lockstone_store_bytes:rate1m{{{ON}}}"
                    " / on (instance, direction) "
                    f"min by (instance, direction) (lockstone_throttle_limit_bytes_per_second{{{ON}}})",
                    "{{instance}} {{direction}}",
                ),
            ),
            panel(
                "Requests that wait for the throttle",
                "short",
                target(
                    f"sum by (direction) (rate(lockstone_throttle_waited_seconds_total{{{ON}}}[$__rate_interval]))",
                    "{{direction}}",
                ),
                about="On average, at a time.",
            ),
            panel(
                "What the throttle holds up",
                "short",
                target(
                    f'instance_stage:lockstone_stage_busy:rate1m{{{ON}, stage=~"uploader|fetcher"}}',
                    "{{stage}}, busy",
                ),
                target(
                    f'sum by (stage) (instance_stage:lockstone_stage_awaited:rate1m{{{ON}, stage=~"uploader|fetcher"}})',
                    "{{stage}}, awaited",
                ),
            ),
            panel(
                "Memory budget held",
                "percentunit",
                target(
                    f"sum by (lane) (lockstone_budget_used_bytes{{{ON}}})"
                    f" / sum by (lane) (lockstone_budget_limit_bytes{{{ON}}})",
                    "{{lane}}",
                ),
            ),
        ],
    ),
    "vault": (
        "Lockstone: vault",
        "The vault's store, the local index and cache, and what is kept.",
        [
            panel(
                "Requests",
                "reqps",
                target(
                    f"sum by (verb, outcome) (rate(lockstone_store_requests_total{{{ON}}}[$__rate_interval])) > 0",
                    "{{verb}} {{outcome}}",
                ),
            ),
            panel(
                "Requests that fail",
                "percentunit",
                target(f"instance:lockstone_store_errors:ratio_rate5m{{{ON}}}", "{{instance}}"),
            ),
            panel(
                "Latency",
                "s",
                target(
                    f"histogram_quantile(0.5, sum by (verb, le) (rate("
                    f"lockstone_store_request_duration_seconds_bucket{{{ON}}}[$__rate_interval])))",
                    "{{verb}}, median",
                ),
                target(
                    f"histogram_quantile(0.99, sum by (verb, le) (rate("
                    f"lockstone_store_request_duration_seconds_bucket{{{ON}}}[$__rate_interval])))",
                    "{{verb}}, 99 %",
                ),
            ),
            panel(
                "Retries",
                "reqps",
                target(f"sum by (verb) (rate(lockstone_store_retries_total{{{ON}}}[$__rate_interval]))", "{{verb}}"),
            ),
            panel(
                "Index lookups",
                "short",
                target(
                    f"sum by (outcome) (rate(lockstone_index_lookups_total{{{ON}}}[$__rate_interval]))", "{{outcome}}"
                ),
            ),
            panel(
                "Chunks that backups read",
                "short",
                target(f"sum by (outcome) (rate(lockstone_chunks_total{{{ON}}}[$__rate_interval]))", "{{outcome}}"),
            ),
            panel(
                "Index",
                "short",
                target(f"max by (instance) (lockstone_index_chunks{{{ON}}})", "{{instance}}, chunks"),
                target(f"max by (instance) (lockstone_index_bytes{{{ON}}})", "{{instance}}, bytes"),
            ),
            panel(
                "Cache folder's file system, free",
                "percentunit",
                target(f"instance:lockstone_cache_free:ratio{{{ON}}}", "{{instance}}"),
            ),
            panel(
                "Recovery points",
                "short",
                target(f"max by (tag) (lockstone_points{{{ON}}})", "{{tag}}"),
            ),
            panel(
                "Newest point",
                "dateTimeFromNow",
                target(f"max by (instance) (lockstone_newest_point_timestamp_seconds{{{ON}}}) * 1000", "{{instance}}"),
                kind="stat",
            ),
        ],
    ),
}


def grafana_panel(number, x, y, given):
    defaults = {"unit": given["unit"]}
    if given["kind"] == "timeseries":
        stacking = "normal" if given["stack"] else "none"
        defaults["custom"] = {"fillOpacity": 20 if given["stack"] else 0, "stacking": {"mode": stacking}}
    if given["thresholds"]:
        steps = [{"value": value, "color": colour} for value, colour in given["thresholds"]]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if given["kind"] == "timeseries":
            defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
    instant = given["kind"] == "table"
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "expr": expr,
            "legendFormat": legend,
            **({"instant": True, "format": "table"} if instant else {}),
        }
        for place, (expr, legend) in enumerate(given["targets"])
    ]
    return {
        "id": number,
        "type": given["kind"],
        "title": given["title"],
        "description": given["about"],
        "gridPos": {"x": x, "y": y, "w": given["width"], "h": given["height"]},
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def dashboard(name):
    title, about, given = DASHBOARDS[name]
    panels, x, y, row = [], 0, 0, 0
    for number, one in enumerate(given, 1):
        if x + one["width"] > WIDTH:
            x, y, row = 0, y + row, 0
        panels.append(grafana_panel(number, x, y, one))
        x, row = x + one["width"], max(row, one["height"])
    instance = {
        "name": "instance",
        "label": "Server",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
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
        "time": {"from": "now-1h" if name in ("pipeline", "throttling") else "now-7d", "to": "now"},
        "refresh": "10s" if name in ("pipeline", "throttling") else "1m",
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}, instance]
        },
        "links": [{"type": "dashboards", "tags": ["lockstone"], "title": "Lockstone", "includeVars": True}],
        "panels": panels,
    }


def main():
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
