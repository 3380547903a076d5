//! One hop of the flow: a message from stage to stage, through a bounded channel whose waits can be cancelled.
#![allow(missing_docs, reason = "a bench")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstone_actors::bench::hops;

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hop");
    group.throughput(Throughput::Elements(1));
    for capacity in [1, 4, 64] {
        group.bench_function(format!("capacity {capacity}"), |bencher| {
            bencher.iter_custom(|messages| hops(messages, capacity));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = hop }
criterion_main!(benches);
