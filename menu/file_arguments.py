"""Define the command lines of the commands about slice files, templates and pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from menu.words import SLICE_FILE, SLICE_FILE_HELP, add_actor, add_json, add_slice, slice_name

if TYPE_CHECKING:
    from menu.words import Commands

IMPORT_TOOLS = ("containerlab", "netlab", "cml", "gns3", "kathara")
TEMPLATE_FORMS = "line:N, ring:N, star:N, mesh:N, tree:DEPTH,FANOUT, lan:N, leaf-spine:SPINES,LEAVES, chain-of-lans:N"
INTERNET = ("all", "none", "first")
GRAPH_FORMATS = ("text", "mermaid", "dot", "svg")


def add_file_commands(commands: Commands) -> None:
    """Add the commands that read or write a design."""
    validate = commands.add_parser(
        "validate",
        help="check a slice file",
        description="Check a slice file against the rules, and against the flavors and networks of this cloud; nothing "
        "is changed. All faults are shown, each with its line. Exit status: 0 valid, 1 faults, 2 wrong words.",
    )
    validate.add_argument("file", metavar="FILE", type=validate.path(*SLICE_FILE), help=SLICE_FILE_HELP)
    add_json(validate, "{valid, slice, vms, links, goals}, or {valid, faults: [{line, sentence}]}")
    create = commands.add_parser(
        "create",
        help="create a slice from a slice file or a template",
        description="Create a slice with all VMs, disks and links of a slice file or a template, or nothing of it. "
        "What it needs is said first, on standard error, as is the progress. "
        "Exit status: 0 created, 1 refused or failed, 2 wrong words, 3 created with a warning.",
    )
    source = create.add_mutually_exclusive_group(required=True)
    source.add_argument("file", metavar="FILE", nargs="?", type=create.path(*SLICE_FILE), help=SLICE_FILE_HELP)
    source.add_argument("--template", metavar="KIND:SIZE", help=f"a template instead of a file: {TEMPLATE_FORMS}")
    create.add_argument("--name", metavar="NAME", type=slice_name, help="the slice's name; a template needs one")
    create.add_argument("--realm", metavar="NAME", default="", help="the slice's realm (default: the first with room)")
    create.add_argument("--flavor", metavar="NAME", help="the flavor of a template's VMs (default: the first one)")
    create.add_argument("--internet", choices=INTERNET, help="a template's VMs with internet access (default: none)")
    add_json(create, "{slice_id}")
    create.add_argument("--dry-run", action="store_true", help="only check it, and say what it needs")
    export = commands.add_parser(
        "export",
        help="write a slice as a slice file",
        description="Write the design of a slice as a slice file, without ids, owners, secrets and hosts. "
        "Exit status: 0 written, 1 refused, 2 wrong words, 3 written with names replaced.",
    )
    add_slice(export)
    convert = commands.add_parser(
        "convert",
        help="turn a topology of another tool into a slice file",
        description="Read a topology of containerlab, netlab, CML, GNS3 or Kathara and write it as a slice file. What "
        "is left out is said on standard error, and stays in the file as comments. Nothing in the file is run. "
        "Exit status: 0 written, 1 refused, 2 wrong words, 3 written with something left out or replaced.",
    )
    endings = "a file that ends in .yaml, .yml, .gns3 or .conf, or - for input"
    foreign = convert.path("a topology", ".yaml", ".yml", ".gns3", ".conf")
    convert.add_argument("file", metavar="FILE", type=foreign, help=endings)
    convert.add_argument(
        "--from", dest="tool", choices=IMPORT_TOOLS, help="where the file comes from (default: its content tells)"
    )
    graph = commands.add_parser(
        "graph",
        help="show the picture of a slice",
        description="Show the VMs, links and addresses of a slice: as a wiring diagram, or for another program. "
        "Exit status: 0 shown, 1 refused, 2 wrong words.",
    )
    add_slice(graph)
    form = graph.add_mutually_exclusive_group()
    form.add_argument(
        "--format", choices=GRAPH_FORMATS, default="text", help="text (default), mermaid, dot, or svg (needs Graphviz)"
    )
    add_json(
        graph,
        "{title, vms: [{name, flavor, state}], links: [{name, network, ends: [{vm, nic, address}]}]}",
        instead=form,
    )
    for command in (validate, create, export, convert, graph):
        add_actor(command, argparse.SUPPRESS)
