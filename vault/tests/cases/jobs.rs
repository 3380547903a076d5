//! Job records, and credentials files.

use bytes::Bytes;
use lockstone_proto::access::{Admission, Credentials, SignedAdmission};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobRecord, SignedJobRecord};
use prost::Message;
use serde_json::json;

use super::registrations::plus_order;
use super::{Cases, SERVER, VAULT, public, sign, with};

pub(crate) const JOB: JobId = JobId([0x33; 16]);

fn record() -> JobRecord {
    JobRecord {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        server_id: Bytes::copy_from_slice(SERVER.as_bytes()),
        job_id: Bytes::copy_from_slice(JOB.as_bytes()),
        number: 1,
        kind: 1,
        state: 3,
        started_s: 1_800_000_000,
        ended_s: 1_800_000_060,
        files: 3,
        bytes: 5000,
        stored_bytes: 700,
        point_id: vec![0x44; 16].into(),
        ..JobRecord::default()
    }
}

fn signed(seed: u8, record: Vec<u8>) -> SignedJobRecord {
    SignedJobRecord {
        signature: sign(seed, "lockstone v1 job\0", &record),
        record: record.into(),
    }
}

pub(crate) fn records(cases: &mut Cases) {
    let mut add = |accepted, why: &str, object: Vec<u8>| {
        let more = json!({ "id": JOB.hex(), "number": 1 });
        cases.add("job record", accepted, why, &object, more);
    };
    let changed = |change: &dyn Fn(&mut JobRecord)| {
        let changed = with(record(), |it| change(it));
        signed(3, changed.encode_to_vec()).encode_to_vec()
    };
    let good = signed(3, record().encode_to_vec());
    add(true, "the end of a backup", good.encode_to_vec());
    let plain = |it: &mut JobRecord| {
        (it.kind, it.state, it.point_id, it.ended_s) = (3, 0, Bytes::new(), 0);
    };
    add(true, "no point, no end, and state 0", changed(&plain));
    add(false, "version 2", changed(&|it| it.version = 2));
    add(false, "version 0", changed(&|it| it.version = 0));
    add(false, "kind 0", changed(&|it| it.kind = 0));
    add(false, "kind 4", changed(&|it| it.kind = 4));
    add(false, "state 7", changed(&|it| it.state = 7));
    for len in [15, 17, 32] {
        let why = format!("a point of {len} bytes");
        add(false, &why, changed(&|it| it.point_id = vec![0x44; len].into()));
    }
    add(
        false,
        "another vault's",
        changed(&|it| it.vault_id = vec![0; 16].into()),
    );
    add(
        false,
        "another server's",
        changed(&|it| it.server_id = vec![0; 16].into()),
    );
    add(
        false,
        "a server of 15 bytes",
        changed(&|it| it.server_id = vec![0x99; 15].into()),
    );
    add(false, "another job's", changed(&|it| it.job_id = vec![0; 16].into()));
    add(
        false,
        "a job of 17 bytes",
        changed(&|it| it.job_id = vec![0x33; 17].into()),
    );
    add(false, "another number", changed(&|it| it.number = 0));
    for (why, time) in [("a start", -377_705_023_202), ("an end", 253_402_207_201)] {
        let change = |it: &mut JobRecord| match why {
            "a start" => it.started_s = time,
            _ => it.ended_s = time,
        };
        add(false, &format!("{why} that is no time"), changed(&change));
    }
    let field = [&record().encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
    add(false, "a field 128", signed(3, field).encode_to_vec());
    let written_out = [&record().encode_to_vec()[..], &[0x82, 0x01, 0]].concat();
    add(
        false,
        "an error code that is empty and written out",
        signed(3, written_out).encode_to_vec(),
    );
    add(
        false,
        "a field behind the signature",
        [&good.encode_to_vec()[..], &[0x18, 1]].concat(),
    );
    add(
        false,
        "signed by somebody else",
        signed(2, record().encode_to_vec()).encode_to_vec(),
    );
    let other = SignedJobRecord {
        signature: sign(3, "lockstone v1 log entry\0", &good.record),
        ..good.clone()
    };
    add(false, "signed as something else", other.encode_to_vec());
    let short = with(good.clone(), |it| it.signature = it.signature.slice(..63));
    add(false, "63 bytes of signature", short.encode_to_vec());
    let large = with(good.clone(), |it| it.signature = plus_order(&it.signature).into());
    add(
        false,
        "a signature whose S is not below the order of the group",
        large.encode_to_vec(),
    );
    add(false, "cut off", good.encode_to_vec()[..20].to_vec());
    add(false, "empty", Vec::new());
}

/// The text of a file with these bytes.
fn text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
    let lines: Vec<_> = lines.collect();
    let label = "LOCKSTONE VAULT CREDENTIALS";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn credentials() -> (Admission, Credentials) {
    let admission = Admission {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        credential_id: vec![0x22; 16].into(),
        admission_key: public(2),
        region: 1,
        issued_s: 1_799_999_000,
        expires_s: 1_800_863_000,
    };
    let credentials = Credentials {
        url: "/srv/vault".to_owned(),
        operator_key: public(1),
        admission: Some(admitted(1, admission.encode_to_vec())),
        admission_secret: vec![2; 32].into(),
        secondary_url: String::new(),
    };
    (admission, credentials)
}

fn admitted(seed: u8, admission: Vec<u8>) -> SignedAdmission {
    SignedAdmission {
        signature: sign(seed, "lockstone v1 admission\0", &admission),
        admission: admission.into(),
    }
}

pub(crate) fn files(cases: &mut Cases) {
    let mut add = |accepted, why: &str, text: &str| {
        cases.add("credentials", accepted, why, text.as_bytes(), json!({}));
    };
    let (admission, credentials) = credentials();
    let good = text(&credentials.encode_to_vec());
    add(true, "credentials", &good);
    add(
        true,
        "text around, and line ends of Windows",
        &format!("Hello\r\n{}Bye\r\n", good.replace('\n', " \r\n")),
    );
    add(false, "no line that begins it", &good.replace("BEGIN", "BEGINNING"));
    add(false, "no line that ends it", good.split("-----END").next().unwrap());
    add(
        false,
        "an operator's key",
        &good.replace("VAULT CREDENTIALS", "OPERATOR KEY"),
    );
    add(false, "a letter that is not base64", &good.replacen("\nC", "\n*", 1));
    let changed = |change: &dyn Fn(&mut Credentials)| {
        let changed = with(credentials.clone(), |it| change(it));
        text(&changed.encode_to_vec())
    };
    add(false, "no admission", &changed(&|it| it.admission = None));
    add(
        false,
        "another operator's key",
        &changed(&|it| it.operator_key = public(9)),
    );
    add(
        false,
        "31 bytes of operator's key",
        &changed(&|it| it.operator_key = public(1).slice(..31)),
    );
    add(
        false,
        "the secret of another key",
        &changed(&|it| it.admission_secret = vec![3; 32].into()),
    );
    add(false, "no secret", &changed(&|it| it.admission_secret = Bytes::new()));
    let longer = [&credentials.encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
    add(false, "a field 128", &text(&longer));
    let of = |change: &dyn Fn(&mut Admission)| {
        let admission = with(admission.clone(), |it| change(it)).encode_to_vec();
        changed(&|it| it.admission = Some(admitted(1, admission.clone())))
    };
    add(true, "for the secondary region", &of(&|it| it.region = 2));
    add(false, "for region 3", &of(&|it| it.region = 3));
    add(false, "for region 0", &of(&|it| it.region = 0));
    add(
        false,
        "an id of 15 bytes",
        &of(&|it| it.credential_id = vec![0x22; 15].into()),
    );
    add(
        false,
        "a vault of 17 bytes",
        &of(&|it| it.vault_id = vec![0x11; 17].into()),
    );
    let field = [&admission.encode_to_vec()[..], &[0x40, 1]].concat();
    add(
        false,
        "an admission with an unknown field",
        &changed(&|it| it.admission = Some(admitted(1, field.clone()))),
    );
    let by_another = admitted(9, admission.encode_to_vec());
    add(
        false,
        "an admission that another signed",
        &changed(&|it| it.admission = Some(by_another.clone())),
    );
}
