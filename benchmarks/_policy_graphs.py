"""Graphs that policies are taught on and measured on."""

from benchmarks._traces import TraceWorkload

TRAINING = (
    TraceWorkload(
        name="train-sbm-a",
        generate="sbm:vertices=60000,edges=800000,classes=16,train=0.15",
        fanout=(10, 10),
        batch_size=150,
        num_epochs=5,
    ),
    TraceWorkload(
        name="train-sbm-b",
        generate="sbm:vertices=50000,edges=400000,classes=50,within=0.85,exponent=2.2,train=0.2",
        fanout=(5, 5, 5),
        batch_size=200,
        num_epochs=5,
    ),
    TraceWorkload(
        name="train-rmat-a",
        generate="rmat:vertices=65536,edges=1000000,train=0.2",
        fanout=(10, 10),
        batch_size=250,
        num_epochs=5,
    ),
    TraceWorkload(
        name="train-rmat-b",
        generate="rmat:vertices=65536,edges=500000,a=0.45,b=0.22,c=0.22,train=0.15",
        fanout=(10, 5),
        batch_size=100,
        num_epochs=5,
    ),
)
"""What the classifiers and the tuned language model that come with gnnflow have learnt from."""

UNSEEN = (
    TraceWorkload(
        name="debian-packages", generate=None, fanout=(10, 10), batch_size=256, num_epochs=3
    ),
    TraceWorkload(
        name="sbm",
        generate="sbm:vertices=100000,edges=1500000,classes=32,train=0.1",
        fanout=(10, 15),
        batch_size=200,
        num_epochs=6,
    ),
)
"""Graphs that none of them has seen: a real one, and a generated one of another size and shape."""

SEEN = (TRAINING[2],)
"""One that they have seen, to tell."""

QUICK = (
    TraceWorkload(
        name="debian-packages", generate=None, fanout=(10, 10), batch_size=256, num_epochs=2
    ),
)
