"""The fleet and the queries of the Placement benchmarks, as plain data: 13 providers a host (root, 4 NUMA cells, 8 PFs of
8 VFs, two of them under each cell), two instances a host. Everything follows from the host's number, so that loading it
again changes nothing."""
import uuid

SPACE = uuid.UUID("6d1f1a52-3c1e-4a1b-9a55-6a6f0b0d9a10")
CELLS, PFS_PER_CELL, VFS = 4, 2, 8
GPUS = 8
AGGREGATES = 16
LOADED = "CUSTOM_BENCH_LOADED"  # set last: a host that has it is complete
TRAITS = ["CUSTOM_BENCH_FAST", "CUSTOM_BENCH_PHYSNET_A", "CUSTOM_BENCH_PHYSNET_B", LOADED]


def uid(name):
    return str(uuid.uuid5(SPACE, name))


def aggregate(number):
    return uid(f"aggregate-{number % AGGREGATES}")


def inventory(total, ratio=1.0, **more):
    return {"total": total, "reserved": 0, "min_unit": 1, "max_unit": total, "step_size": 1, "allocation_ratio": ratio, **more}


class Provider:
    def __init__(self, name, parent, inventories, traits, aggregates=()):
        self.name, self.parent, self.uuid = name, parent, uid(name)
        self.inventories, self.traits, self.aggregates = inventories, list(traits), list(aggregates)


def host(number):
    """Providers of one host, the root first, parents before children."""
    name = f"bench-{number:05d}"
    root = Provider(name, None, {"DISK_GB": inventory(2000)},
                    ["COMPUTE_NODE"] + (["CUSTOM_BENCH_FAST"] if number % 6 == 0 else []), [aggregate(number)])
    providers = [root]
    for cell in range(CELLS):
        node = Provider(f"{name}_numa_{cell}", root,
                        {"VCPU": inventory(32, 2.0, max_unit=32), "MEMORY_MB": inventory(131072, reserved=1024)}, ["HW_NUMA_ROOT"])
        providers.append(node)
        for pf in range(PFS_PER_CELL):
            net = "A" if pf == 0 else "B"
            providers.append(Provider(f"{name}_0000:{cell}{pf + 1}:00.0", node, {"SRIOV_NET_VF": inventory(VFS)},
                                      [f"CUSTOM_BENCH_PHYSNET_{net}"]))
    return providers


def gpu_host(number):
    """A wide host: 8 GPUs, each a provider of its own."""
    name = f"bench-gpu-{number:05d}"
    root = Provider(name, None, {"DISK_GB": inventory(2000)}, ["COMPUTE_NODE"])
    return [root] + [Provider(f"{name}_gpu_{i}", root, {"PGPU": inventory(1)}, []) for i in range(GPUS)]


def instances(number):
    """Two instances a host: consumer uuid -> {provider uuid: resources}."""
    name = f"bench-{number:05d}"
    return {uid(f"{name}-instance-{i}"): {
        uid(name): {"DISK_GB": 20},
        uid(f"{name}_numa_{i}"): {"VCPU": 4, "MEMORY_MB": 8192},
        uid(f"{name}_0000:{i}1:00.0"): {"SRIOV_NET_VF": 1}} for i in range(2)}


def claim(number, cell):
    """What one claim of the benchmark takes: a NUMA cell and a VF below it."""
    name = f"bench-{number:05d}"
    return {uid(f"{name}_numa_{cell}"): {"resources": {"VCPU": 1, "MEMORY_MB": 512}},
            uid(f"{name}_0000:{cell}1:00.0"): {"resources": {"SRIOV_NET_VF": 1}}}


NUMA0 = "resources_N0=VCPU:4,MEMORY_MB:8192&required_N0=HW_NUMA_ROOT"
NUMA1 = "resources_N1=VCPU:4,MEMORY_MB:8192&required_N1=HW_NUMA_ROOT"
PORT_A = "resources_PA=SRIOV_NET_VF:1&required_PA=CUSTOM_BENCH_PHYSNET_A"
PORT_B = "resources_PB=SRIOV_NET_VF:1&required_PB=CUSTOM_BENCH_PHYSNET_B"


def queries(hosts):
    middle = uid(f"bench-{hosts // 2:05d}_numa_1")
    return {
        "simple_root": "resources=DISK_GB:20",
        "simple": "resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20",
        "simple_traits": "resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20&required=CUSTOM_BENCH_FAST",
        "forbidden": "resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20&required=!CUSTOM_BENCH_FAST",
        "member_of": f"resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20&member_of={aggregate(3)}",
        "in_tree": f"resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20&in_tree={middle}",
        "one_numa": NUMA0,
        "two_numa": f"{NUMA0}&{NUMA1}&group_policy=isolate",
        "numa_pci": f"{NUMA0}&{PORT_A}&group_policy=none&same_subtree=_N0,_PA",
        "numa_2pci": f"{NUMA0}&{PORT_A}&{PORT_B}&group_policy=none&same_subtree=_N0,_PA,_PB",
        "nova_full": f"resources=DISK_GB:20&{NUMA0}&{PORT_A}&group_policy=isolate&same_subtree=_N0,_PA"
                     f"&root_required=COMPUTE_NODE,!COMPUTE_STATUS_DISABLED&member_of=in:{aggregate(1)},{aggregate(2)}",
        "resourceless": f"required_N0=HW_NUMA_ROOT&{PORT_A}&{PORT_B}&group_policy=none&same_subtree=_N0,_PA,_PB",
        "none_fit": "resources=VCPU:100000",
        "pci4_isolate": "&".join(f"resources_P{i}=SRIOV_NET_VF:1" for i in range(4)) + "&group_policy=isolate",
    }


def gpu_queries(groups=6):
    return {f"gpu{groups}": "&".join(f"resources_G{i}=PGPU:1" for i in range(groups)) + "&group_policy=isolate"}
