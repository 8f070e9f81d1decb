"""Installs peers: `python -m benchmarks.peers dgl`."""

import argparse
import sys

from benchmarks.peers import PEERS, UNUSABLE, install_peer


def main() -> None:
    """Installs the peers named on the command line."""
    known = "\n".join(f"  {name}: {peer.note}" for name, peer in PEERS.items())
    unusable = "\n".join(f"  {name}: {reason}" for name, reason in UNUSABLE.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=main.__doc__,
        epilog=f"known:\n{known}\nnot usable:\n{unusable}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("peers", nargs="+", choices=PEERS, metavar="PEER")
    for name in parser.parse_args().peers:
        print(f"{name}: {install_peer(name)}", file=sys.stderr)


if __name__ == "__main__":
    main()
