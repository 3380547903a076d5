//! Everything that can be wrong with an object store and its settings leads to a clear error, with a hint and the right
//! exit code.

use crate::support::fault_proxy::{Fault, Proxy};
use crate::support::lab::{Lab, Ran};
use crate::support::servers::{self, free_port};

fn s3_at(endpoint: &str) -> Lab {
    let mut lab = Lab::elsewhere("s3://vaults/input", &[]);
    lab.set("AWS_ENDPOINT_URL", endpoint);
    lab.set("AWS_ACCESS_KEY_ID", "key");
    lab.set("AWS_SECRET_ACCESS_KEY", "secret");
    lab
}

fn create(lab: &Lab) -> Ran {
    lab.run(["vault", "create", "s3://vaults/input", "--store-patience", "500ms"])
}

#[test]
fn urls_and_settings_that_make_no_sense_are_refused_before_anything_is_asked() {
    let lab = Lab::empty();
    lab.run(["vault", "create", "gopher://x"])
        .exits(1)
        .says("gopher")
        .says("s3://bucket/prefix");
    lab.run(["vault", "create", "s3://a b"]).exits(1).says("bucket");
    lab.run(["vault", "create", "az://container/x"])
        .exits(5)
        .says("AZURE_STORAGE_ACCOUNT_NAME");
    let mut lab = s3_at("http://127.0.0.1:1");
    lab.set("AWS_SECRET_ACCESS_KEY", "");
    create(&lab).exits(5).says("AWS_SECRET_ACCESS_KEY");
    lab.set("AWS_ACCESS_KEY_ID", "");
    create(&lab)
        .exits(5)
        .says("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    std::fs::write(lab.path("home/store.json"), r#"{"aws_endpiont": "x"}"#).unwrap();
    create(&lab).exits(2).says("aws_endpiont");
    let mut lab = s3_at("https://127.0.0.1:1");
    lab.set("AWS_CA_BUNDLE", "/nowhere.pem");
    create(&lab).exits(1).says("/nowhere.pem");
}

#[test]
fn the_state_folder_may_say_where_the_store_is() {
    let Some(server) = servers::moto() else { return };
    let lab = Lab::elsewhere(&server.url("file"), &[]);
    let settings: serde_json::Map<String, serde_json::Value> = server
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.into()))
        .collect();
    std::fs::create_dir(lab.path("home")).unwrap();
    std::fs::write(lab.path("home/store.json"), serde_json::to_vec(&settings).unwrap()).unwrap();
    lab.create_vault();
}

#[test]
fn a_store_that_cannot_be_reached_is_named_with_the_reason() {
    let lab = s3_at(&format!("http://127.0.0.1:{}", free_port()));
    create(&lab).exits(1).says("refused").says("s3://vaults/input");
    create(&s3_at("http://no-such-host.invalid"))
        .exits(1)
        .says("no-such-host.invalid");
    let mut lab = s3_at("http://store.invalid");
    lab.set("HTTP_PROXY", &format!("http://127.0.0.1:{}", free_port()));
    create(&lab).exits(1).says("HTTP_PROXY");
}

#[test]
fn refusals_of_a_store_are_told_apart() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let lab = s3_at(&proxy.endpoint);
    let url = "s3://no-such-bucket/input";
    lab.run(["vault", "create", url])
        .exits(1)
        .says("no such bucket")
        .says("NoSuchBucket");
    for (status, code, exit, words) in [
        (403, "AccessDenied", 5, "docs/operations.md"),
        (403, "InvalidAccessKeyId", 5, "does not accept the keys"),
        (403, "SignatureDoesNotMatch", 5, "does not accept the keys"),
        (403, "RequestTimeTooSkewed", 1, "clock"),
        (400, "ExpiredToken", 5, "have expired"),
        (301, "PermanentRedirect", 1, "AWS_REGION"),
        (407, "", 5, "proxy"),
        (507, "InsufficientCapacity", 1, "full"),
    ] {
        proxy.set(Fault::Refuse(status, code));
        create(&lab).exits(exit).says(words);
    }
    proxy.set(Fault::None);
    // TLS to a server that does not support it.
    create(&s3_at(&proxy.endpoint.replace("http://", "https://")))
        .exits(1)
        .says("secure connection");
    // Keys that may create and read, but not delete: the vault is created and used, and only the probe's objects stay.
    proxy.set(Fault::RefuseDelete(403, "AccessDenied"));
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    crate::stores::source(&lab);
    lab.backup();
    lab.check_clean();
}

#[test]
fn wrong_keys_and_a_missing_container_of_azure_are_named() {
    let Some(server) = servers::azurite() else { return };
    let mut lab = Lab::elsewhere(&server.url("input"), &server.env());
    let url = server.url("input");
    lab.run(["vault", "create", "az://no-such-container/x"])
        .exits(1)
        .says("no such bucket or container");
    lab.set("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmcga2V5");
    lab.run(["vault", "create", &url])
        .exits(5)
        .says("does not accept the keys");
    lab.set("AZURE_STORAGE_ACCOUNT_KEY", "no base64!");
    lab.run(["vault", "create", &url]).exits(1).says("cannot be opened");
}

#[test]
fn no_message_shows_the_seams_between_the_program_and_its_libraries() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let lab = s3_at(&proxy.endpoint);
    lab.create_vault();
    let mut said = Vec::new();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL", "://"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:99999"),
        ("AWS_ENDPOINT_URL", "ftp://127.0.0.1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_REGION", "two words"),
        ("AWS_REGION", ""),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_CHECKSUM_ALGORITHM", "crc7"),
        ("HTTP_PROXY", "not an address"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ] {
        let mut lab = s3_at(&proxy.endpoint);
        lab.set(name, value);
        let ran = lab.run(["vault", "servers", "s3://vaults/input", "--store-patience", "1s"]);
        said.push((format!("{name}={value}"), ran.stderr));
    }
    for fault in [
        Fault::Refuse(400, "InvalidArgument"),
        Fault::Refuse(404, "NoSuchBucket"),
        Fault::Refuse(418, ""),
        Fault::Refuse(501, "NotImplemented"),
        Fault::Refuse(503, "SlowDown"),
    ] {
        proxy.set(fault);
        let ran = lab.run(["vault", "servers", "s3://vaults/input", "--store-patience", "1s"]);
        assert_ne!(ran.code, Some(0), "{fault:?}");
        said.push((format!("{fault:?}"), ran.stderr));
    }
    for (what, text) in said {
        for seam in [
            ": :",
            "error: :",
            "error: error",
            "Generic ",
            "[store]",
            "''",
            "\"\"",
            "Some(",
            "reqwest",
        ] {
            assert!(!text.contains(seam), "{what}: {seam:?} in {text}");
        }
        let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(errors <= 1 && !text.contains("panicked"), "{what}: {text}");
    }
}
