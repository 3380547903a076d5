//! Descriptors.

use std::fmt::Write;

use serde_json::json;

use super::{Cases, VAULT, public, sign, with};

/// A descriptor as it is written, field by field. The signature always fits what is signed.
#[derive(Clone)]
struct Text {
    format: u32,
    created: &'static str,
    tenant: Option<&'static str>,
    read: Vec<&'static str>,
    write: Vec<&'static str>,
}

fn words(words: &[&str]) -> String {
    let lines: Vec<String> = words.iter().map(|word| format!("      \"{word}\"")).collect();
    if lines.is_empty() {
        "[]".to_owned()
    } else {
        format!("[\n{}\n    ]", lines.join(",\n"))
    }
}

impl Text {
    fn signed(&self) -> String {
        let (vault, key) = (VAULT.hex(), hex::encode(public(1)));
        let format = self.format.to_string();
        let mut lines = vec![
            ("format", format.as_str()),
            ("vault_id", &vault),
            ("operator_key", &key),
            ("created", self.created),
            ("region", "primary"),
            ("url", "s3://backups/web"),
            ("tenant", self.tenant.unwrap_or_default()),
            ("soft_delete_days", "14"),
        ];
        lines.extend(self.read.iter().map(|word| ("read-feature", *word)));
        lines.extend(self.write.iter().map(|word| ("write-feature", *word)));
        let mut signed = String::new();
        for (name, value) in lines {
            writeln!(signed, "{name}={}:{value}", value.len()).unwrap();
        }
        signed
    }

    /// `tenant` as it stands between the quotation marks in the JSON.
    fn json(&self, tenant: Option<&str>) -> String {
        let tenant = tenant.map_or(String::new(), |tenant| format!("  \"tenant\": \"{tenant}\",\n"));
        let signature = hex::encode(sign(1, "lockstone v1 descriptor\0", self.signed().as_bytes()));
        format!(
            "{{\n  \"format\": {},\n  \"vault_id\": \"{}\",\n  \"operator_key\": \"{}\",\n  \"created\": \"{}\",\n  \
             \"regions\": [\n    {{\n      \"name\": \"primary\",\n      \"url\": \"s3://backups/web\"\n    }}\n  ],\n\
             {tenant}  \"soft_delete_days\": 14,\n  \"features\": {{\n    \"read\": {},\n    \"write\": {}\n  }},\n  \
             \"signature\": \"{signature}\"\n}}\n",
            self.format,
            VAULT.hex(),
            hex::encode(public(1)),
            self.created,
            words(&self.read),
            words(&self.write),
        )
    }
}

pub(crate) fn descriptors(cases: &mut Cases) {
    let good = Text {
        format: 1,
        created: "2026-11-22T03:00:00Z",
        tenant: None,
        read: vec![],
        write: vec!["condemn"],
    };
    let mut add = |accepted: bool, writable: bool, stops: bool, why: &str, text: &str| {
        let more = json!({ "writable": writable, "stops": stops });
        cases.add("descriptor", accepted, why, text.as_bytes(), more);
    };
    let plain = good.json(None);
    add(true, true, false, "a descriptor", &plain);
    let changed = |change: &dyn Fn(&mut Text)| with(good.clone(), |it| change(it)).json(None);
    add(true, true, false, "no feature", &changed(&|it| it.write = vec![]));
    let unknown = changed(&|it| it.write.push("fold"));
    add(true, false, false, "an unknown word in write", &unknown);
    let unknown = changed(&|it| it.read.push("shards"));
    add(false, false, true, "an unknown word in read", &unknown);
    add(false, false, true, "format 2", &changed(&|it| it.format = 2));
    add(
        false,
        false,
        true,
        "format 2, and nothing else that is known",
        "{\"format\": 2}",
    );
    for created in ["2026-11-22T03:00:00.5Z", "2026-11-22T03:00:00.000000001Z"] {
        let text = with(good.clone(), |it| it.created = created).json(None);
        add(true, true, false, "a fraction of a second", &text);
    }
    let tenant = with(good.clone(), |it| {
        it.tenant = Some("a\"b\\c\n\u{8}\u{c}\r\t\u{1f}\u{7f}é");
    });
    let escaped = "a\\\"b\\\\c\\n\\b\\f\\r\\t\\u001f\u{7f}é";
    add(true, true, false, "a tenant", &tenant.json(Some(escaped)));
    refused(&good, &tenant, &mut |why, text| add(false, false, false, why, text));
}

/// Those that must be refused, although the signature of most of them fits.
fn refused(good: &Text, tenant: &Text, add: &mut dyn FnMut(&str, &str)) {
    let plain = good.json(None);
    let swap = |from: &str, to: &str| {
        assert!(plain.contains(from), "{from}");
        plain.replacen(from, to, 1)
    };
    add("format 0", &with(good.clone(), |it| it.format = 0).json(None));
    add("text behind it", &format!("{plain}\n"));
    add("no newline at the end", plain.trim_end());
    add("a space before it", &format!(" {plain}"));
    add("another indentation", &swap("  \"format\"", "    \"format\""));
    add(
        "a field that is not known",
        &swap("  \"soft_", "  \"x\": 1,\n  \"soft_"),
    );
    add(
        "a field twice",
        &swap("  \"format\": 1,\n", "  \"format\": 1,\n  \"format\": 1,\n"),
    );
    let id = format!("  \"vault_id\": \"{}\",\n", VAULT.hex());
    let order = swap(&id, "").replacen("  \"format\": 1,\n", &format!("{id}  \"format\": 1,\n"), 1);
    add("fields in another order", &order);
    add("no created", &swap("  \"created\": \"2026-11-22T03:00:00Z\",\n", ""));
    add(
        "an empty tenant, which is signed like none",
        &with(good.clone(), |it| it.tenant = Some("")).json(Some("")),
    );
    add(
        "a tenant that is null",
        &swap("  \"soft_", "  \"tenant\": null,\n  \"soft_"),
    );
    for written in [
        "a\\\"b\\\\c\\n\\b\\f\\r\\t\\u001F\u{7f}é",
        "a\\\"b\\\\c\\n\\b\\f\\r\\t\\u001f\\u007fé",
        "a\\\"b\\\\c\\n\\b\\f\\r\\t\\u001f\u{7f}\\u00e9",
        "\\u0061\\\"b\\\\c\\n\\b\\f\\r\\t\\u001f\u{7f}é",
    ] {
        add("a tenant with other escapes", &tenant.json(Some(written)));
    }
    for created in [
        "2026-11-22T03:00:00.0Z",
        "2026-11-22T03:00:00.50Z",
        "2026-11-22T03:00:00+00:00",
        "2026-11-22 03:00:00Z",
        "2026-11-31T03:00:00Z",
    ] {
        add(
            "a time written otherwise",
            &with(good.clone(), |it| it.created = created).json(None),
        );
    }
    let key = hex::encode(public(1));
    add("a key in upper case", &swap(&key, &key.to_uppercase()));
    let (head, signature) = plain.split_once("\"signature\": ").unwrap();
    add(
        "a signature in upper case",
        &format!("{head}\"signature\": {}", signature.to_uppercase()),
    );
    add("another URL than the signed one", &swap("backups", "backup5"));
    add("a number as text", &swap("days\": 14", "days\": \"14\""));
    add("a number with a fraction", &swap("days\": 14", "days\": 14.0"));
    add("features of another shape", &swap("\"read\": []", "\"read\": {}"));
    add(
        "an unknown member of features",
        &swap("\"read\": [],", "\"read\": [],\n    \"x\": [],"),
    );
}
