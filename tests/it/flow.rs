//! The pipeline works with the smallest settings: one thread, one message between stages, the smallest budget. No stage
//! may wait for itself.

use crate::support::lab::{LEAST, Lab, noise};
use crate::support::tree::{self, assert_same, file};

#[test]
fn ten_thousand_files_pass_through_the_narrowest_pipeline() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    for number in 0..10_000_u64 {
        let content = noise(number, usize::try_from(number % 3000).unwrap());
        file(&lab.source().join(format!("many/{}/{number}", number / 250)), &content);
    }
    // Files larger than the budget, and larger than a third of it: they need windows, whole packs, and bytes carried
    // from one window to the next.
    for number in 0..3 {
        file(
            &lab.source().join(format!("large/{number}")),
            &noise(20_000 + number, 40 << 20),
        );
    }
    let report = lab.backup_with(&LEAST).exits(0).json();
    assert_eq!(report["files_new"], 10_003 + tree::PLAIN_FILES);
    let report = lab.backup_with(&LEAST).exits(0).json();
    assert_eq!(report["files_unchanged"], 10_003 + tree::PLAIN_FILES);
    let report = lab.backup_with(&[&LEAST[..], &["--full"]].concat()).exits(0).json();
    assert_eq!(report["bytes_new"], 0);
    let target = lab.path("out");
    let mut args = vec!["restore", "latest", "--verify", "--target", target.to_str().unwrap()];
    args.extend(&LEAST);
    lab.run(args).exits(0);
    assert_same(&lab.source(), &lab.restored("out"));
    lab.check_clean();
}
