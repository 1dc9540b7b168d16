#!/usr/bin/env python3
"""Scheduling cases without answers, for `verdicts` to answer: the same arguments give the same bytes.

    cases.py --seed 1 --count 1000 [--kind NAME] [--from tests/conformance/scheduling] > cases.jsonl

Three in four cases are known ones with some values changed: a value goes, comes twice, or gives way
to another that stands at the same place elsewhere in the same case, in the same file or in any. The
rest are about devices, whose requests, pools, counters, shares and taints the known cases hardly
touch.
"""
import argparse
import copy
import glob
import json
import os
import random
import sys

# Below these keys the names are data, so that all of them are one place.
OPEN = {"labels", "annotations", "matchLabels", "nodeSelector", "allocatable", "requests", "limits",
        "overhead", "allocatedResources", "selector", "attributes", "capacity", "counters",
        "consumedCapacity"}
ODD_QUANTITIES = ["0", "1", "1m", "500u", "0.5m", "1500m", "0.0001", "1e3", "2E2", "1Ki", "0.5Gi",
                  "1.5Gi", "999999999999999", "9223372036854775807", "100n", "+1", "1k", "-1"]
ODD_STRINGS = ["", "x", "0", "-1", "007", "9223372036854775808", "a__b", "a__", " a", "A_b", "-x"]
ODD_NUMBERS = [0, 1, 2, 3, 5, -1, 100]
# What identifies a thing is not made odd, or a case would be about nothing.
KEEP = {"uid", "apiVersion", "kind"}


def places(value, path=()):
    """Every value in a case with the path to it."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, path + (key,))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, path + (index,))


def place(path):
    """The path without what differs between things of a kind."""
    out = []
    for index, step in enumerate(path):
        if isinstance(step, int):
            out.append("*")
        elif index and path[index - 1] in OPEN:
            out.append("<name>")
        else:
            out.append(step)
    if out[:2] == ["pods", "*"] or out[:1] == ["pod"]:
        out = ["pod"] + (out[2:] if out[0] == "pods" else out[1:])
    return tuple(out)


def at(value, path):
    for step in path:
        value = value[step]
    return value


class Mutator:
    def __init__(self, random_source, cases):
        self.random = random_source
        self.cases = cases
        self.by_file, self.of_all = {}, {}
        for case in cases:
            known = self.by_file.setdefault(case["id"].split("/")[0], {})
            for path, value in self.changeable(case):
                for pool in (known, self.of_all):
                    pool.setdefault(place(path), []).append(value)

    @staticmethod
    def changeable(case):
        for key in ("nodes", "pods", "pod", "objects", "schedulerConfig"):
            if key in case:
                yield from places(case[key], (key,))

    def case(self, kind=None):
        choices = [c for c in self.cases if kind is None or c["id"].split("/")[0] == kind]
        original = self.random.choice(choices)
        case = copy.deepcopy({k: v for k, v in original.items() if k not in ("want", "want137", "note")})
        file = original["id"].split("/")[0]
        if self.random.random() < 0.2:
            self.borrow_objects(case)
        for _ in range(self.random.choice([1, 1, 2, 2, 3, 5])):
            self.change(case, file)
        if "csiNodes" in case.get("objects", {}) and self.random.random() < 0.3:
            self.require_drivers(case)
        case["id"] = file
        return case

    def require_drivers(self, case):
        """Makes drivers forbid nodes on which they are not."""
        objects = case["objects"]
        named = {d.get("name") for n in objects["csiNodes"] for d in n.get("spec", {}).get("drivers", [])}
        named |= {v.get("spec", {}).get("csi", {}).get("driver") for v in objects.get("persistentVolumes", [])}
        named |= {c.get("provisioner") for c in objects.get("storageClasses", [])}
        for name in sorted(n for n in named if n and n.islower()):
            if self.random.random() < 0.6:
                spec = {"preventPodSchedulingIfMissing": self.random.random() < 0.8}
                objects.setdefault("csiDrivers", []).append({"metadata": {"name": name}, "spec": spec})

    def borrow_objects(self, case):
        """Takes a part of another case whole."""
        other = self.random.choice(self.cases)
        key = self.random.choice(["schedulerConfig", "pod", "objects", "pods"])
        if key not in other:
            return
        if key == "pods":
            names = [node["metadata"]["name"] for node in case["nodes"]]
            for pod in copy.deepcopy(other["pods"]):
                pod["spec"]["nodeName"] = self.random.choice(names)
                pod["metadata"]["name"] = f"b{len(case.get('pods', []))}"
                pod["metadata"]["uid"] = "u-" + pod["metadata"]["name"]
                case.setdefault("pods", []).append(pod)
        elif key == "pod":
            spec = case["pod"]["spec"]
            for name, value in other["pod"]["spec"].items():
                if self.random.random() < 0.5:
                    spec[name] = copy.deepcopy(value)
        elif key == "objects":
            for name, value in other["objects"].items():
                case.setdefault("objects", {}).setdefault(name, copy.deepcopy(value))
        else:
            case[key] = copy.deepcopy(other[key])

    def change(self, case, file):
        paths = [p for p, _ in self.changeable(case) if len(p) > 1]
        if not paths:
            return
        path = self.random.choice(paths)
        parent, last, value = at(case, path[:-1]), path[-1], at(case, path)
        how = self.random.random()
        if last in KEEP:
            return
        if how < 0.12:
            del parent[last]
        elif how < 0.2 and isinstance(parent, list):
            parent.insert(self.random.randrange(len(parent) + 1), copy.deepcopy(value))
        elif how < 0.27 and isinstance(parent, list) and len(parent) > 1:
            self.random.shuffle(parent)
        elif how < 0.33 and isinstance(value, (str, int)) and not isinstance(value, bool):
            parent[last] = self.odd(path, value)
        elif how < 0.4 and isinstance(value, (dict, list)) and len(path) > 2:
            parent[last] = type(value)()
        elif how < 0.5 and isinstance(value, dict):
            self.add_field(value, path, file)
        else:
            pool = self.donors(case, file, place(path))
            if pool:
                parent[last] = copy.deepcopy(self.random.choice(pool))

    def donors(self, case, file, where):
        chance = self.random.random()
        if chance < 0.45:
            own = [value for path, value in self.changeable(case) if place(path) == where]
            if len(own) > 1:
                return own
        if chance < 0.85:
            return self.by_file[file].get(where, [])
        return self.of_all.get(where, [])

    def add_field(self, value, path, file):
        """Gives an object a field that its kind has elsewhere."""
        where = place(path)
        pools = self.by_file[file] if self.random.random() < 0.7 else self.of_all
        fields = [p for p in pools if len(p) == len(where) + 1 and p[:-1] == where and p[-1] not in value]
        fields = [p for p in fields if p[-1] not in ("<name>", "*")]
        if fields:
            field = self.random.choice(sorted(fields))
            value[field[-1]] = copy.deepcopy(self.random.choice(pools[field]))

    def odd(self, path, value):
        if isinstance(value, int):
            return self.random.choice(ODD_NUMBERS)
        if any(step in ("allocatable", "requests", "limits", "overhead", "capacity", "storage",
                        "allocatedResources", "maximumVolumeSize") for step in path):
            return self.random.choice(ODD_QUANTITIES)
        return self.random.choice(ODD_STRINGS)


def is_sound(case):
    """Whether names are as unique as they must be for a case to mean one thing."""
    try:
        names = [node["metadata"]["name"] for node in case["nodes"]]
        if len(set(names)) != len(names) or not names or not all(names):
            return False
        ids = set()
        for pod in case.get("pods", []):
            meta = pod["metadata"]
            identity = (meta.get("namespace"), meta["name"], meta.get("uid"))
            if pod["spec"]["nodeName"] not in names or identity in ids:
                return False
            ids.add(identity)
        meta = case["pod"]["metadata"]
        if (meta.get("namespace"), meta["name"], meta.get("uid")) in ids or not case["pod"]["spec"]:
            return False
        for kind, objects in case.get("objects", {}).items():
            keys = [(o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
            if len(set(keys)) != len(keys) or not all(name for _, name in keys):
                return False
    except (KeyError, TypeError, AttributeError):
        return False
    return True


# ---------------------------------------------------------------- devices

DRIVERS = ["gpu.example.com", "nic.example.com"]
MODELS = ["A100", "H100", "T4"]
EXPRESSIONS = [
    'device.driver == "gpu.example.com"',
    'device.attributes["gpu.example.com"].model == "A100"',
    'device.attributes["gpu.example.com"].model != "A100"',
    'device.attributes["gpu.example.com"].model in ["A100", "H100"]',
    'device.attributes["gpu.example.com"].index >= 1',
    'device.attributes["gpu.example.com"].shared',
    'device.attributes["gpu.example.com"].none == 1',
    'device.attributes["other.example.com"].rack == "r1"',
    '"other.example.com" in device.attributes',
    '"model" in device.attributes["gpu.example.com"]',
    'has(device.attributes["gpu.example.com"].model)',
    'has(device.attributes["gpu.example.com"].model) && device.attributes["gpu.example.com"].model.startsWith("A")',
    'device.attributes["gpu.example.com"].model.matches("^[AH]100$")',
    'device.attributes["gpu.example.com"].?model.orValue("none") == "A100"',
    'device.attributes["gpu.example.com"].firmware.isGreaterThan(semver("1.2.0"))',
    'device.attributes["gpu.example.com"].firmware.compareTo(semver("2.0.0")) < 0',
    'device.attributes["gpu.example.com"].firmware.major() == 1',
    'device.capacity["gpu.example.com"].memory.compareTo(quantity("40Gi")) >= 0',
    'device.capacity["gpu.example.com"].memory.isGreaterThan(quantity("16Gi"))',
    'device.capacity["gpu.example.com"].memory == quantity("16Gi")',
    'device.capacity["gpu.example.com"].memory.asInteger() > 20000000000',
    'device.allowMultipleAllocations == true',
    'device.allowMultipleAllocations',
    '!device.allowMultipleAllocations',
    'device.attributes["gpu.example.com"].index + 1 > 1',
    'device.attributes["gpu.example.com"].index',
    'cel.bind(gpu, device.attributes["gpu.example.com"], gpu.index > 0 && gpu.model == "H100")',
    'device.attributes["gpu.example.com"].exists(k, k == "model")',
    'device.attributes.size() > 0',
    'device.attributes["gpu.example.com"].model.lowerAscii() == "a100"',
    '["A100", "T4"].exists(m, m == device.attributes["gpu.example.com"].model)',
    'true', 'false', '1 +', 'device.nosuch == 1', 'device.driver.split(".")[0] == "gpu"',
    'size(device.driver) > 3 ? true : false', 'device.driver.endsWith(".com") || 1 / 0 == 1',
]


class Devices:
    """Cases about claims to devices."""

    def __init__(self, random_source):
        self.r = random_source

    def pick(self, *choices):
        return self.r.choice(choices)

    def maybe(self, chance):
        return self.r.random() < chance

    def case(self):
        r = self.r
        names = [f"n-{i}" for i in range(r.randint(1, 3))]
        nodes = []
        for i, name in enumerate(names):
            allocatable = {"cpu": "8", "memory": "16Gi", "pods": "110"}
            if self.maybe(0.15):
                allocatable["example.com/gpu"] = self.pick("0", "1", "4")
            nodes.append({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": self.pick("a", "b")}},
                          "status": {"allocatable": allocatable}})
        slices = self.slices(names)
        classes = self.classes()
        pod = {"metadata": {"name": "p", "namespace": "default", "uid": "u-default-p"},
               "spec": {"containers": [{"name": "c", "resources": {}}]}}
        claims = []
        wanted = r.choice([0, 1, 1, 1, 2, 2])
        if wanted:
            pod["spec"]["resourceClaims"] = []
        for i in range(wanted):
            claims.append(self.claim(f"want{i}"))
            pod["spec"]["resourceClaims"].append({"name": f"x{i}", "resourceClaimName": f"want{i}"})
        if wanted == 0 or self.maybe(0.15):
            name = self.pick("example.com/gpu", "example.com/gpu", "deviceclass.resource.kubernetes.io/gpu",
                             "deviceclass.resource.kubernetes.io/none", "example.com/other")
            pod["spec"]["containers"][0]["resources"]["requests"] = {name: self.pick("1", "2", "3")}
            if self.maybe(0.3):
                extra = self.pick("example.com/other", "deviceclass.resource.kubernetes.io/big")
                pod["spec"]["containers"][0]["resources"]["requests"][extra] = "1"
            if self.maybe(0.3):
                pod["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {name: self.pick("1", "2")}}}]
                if self.maybe(0.4):
                    pod["spec"]["initContainers"][0]["restartPolicy"] = "Always"
        for i in range(r.choice([0, 0, 1, 1, 2])):
            busy = self.busy(f"busy{i}", slices)
            if busy:
                claims.append(busy)
        objects = {"resourceSlices": slices, "deviceClasses": classes}
        if claims:
            objects["resourceClaims"] = claims
        return {"id": "DynamicResources", "nodes": nodes, "pod": pod, "objects": objects}

    def slices(self, names):
        slices = []
        for name in names:
            for driver in DRIVERS:
                if driver == DRIVERS[1] and not self.maybe(0.35) or self.maybe(0.1):
                    continue
                where = {"nodeName": name}
                chance = self.r.random()
                if chance < 0.1:
                    where = {"allNodes": True}
                elif chance < 0.2:
                    where = {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]}]}}
                elif chance < 0.28:
                    where = {"perDeviceNodeSelection": True}
                # Drivers like to name their pools for the node.
                pool = name if self.maybe(0.25) else f"{name}-{driver[:3]}"
                slices += self.pool(pool, driver, where, name)
        return slices

    def pool(self, pool, driver, where, node):
        shared = self.maybe(0.25)
        count = 1 + (1 if shared else 0) + (1 if self.maybe(0.12) else 0)
        head = {"driver": driver, "pool": {"name": pool, "generation": 1, "resourceSliceCount": count if not self.maybe(0.06) else count + 1}}
        out = []
        if shared:
            sets = [{"name": f"set{i}", "counters": {"memory": {"value": self.pick("40Gi", "80Gi")}, "slots": {"value": self.pick("1", "2", "4")}}}
                    for i in range(self.pick(1, 1, 2))]
            out.append({"metadata": {"name": f"{node}-{driver[:3]}-counters"}, "spec": {**copy.deepcopy(head), **where, "sharedCounters": sets}})
        index = 0
        for part in range(count - len(out)):
            devices = []
            for _ in range(self.r.randint(1, 3)):
                name = "d0" if self.maybe(0.02) else f"d{index}"
                devices.append(self.device(name, driver, index, shared, where, node))
                index += 1
            out.append({"metadata": {"name": f"{node}-{driver[:3]}-{part}"}, "spec": {**copy.deepcopy(head), **where, "devices": devices}})
        if self.maybe(0.1):
            newer = copy.deepcopy(self.r.choice(out))
            newer["metadata"]["name"] += "-new"
            newer["spec"]["pool"]["generation"] = 2
            newer["spec"]["pool"]["resourceSliceCount"] = 1
            out.append(newer)
        return out

    def device(self, name, driver, index, shared, where, node):
        device = {"name": name, "attributes": {"index": {"int": index}}, "capacity": {"memory": {"value": self.pick("16Gi", "40Gi", "80Gi")}}}
        if driver == DRIVERS[0]:
            if self.maybe(0.9):
                device["attributes"]["model"] = {"string": self.pick(*MODELS)}
            if self.maybe(0.5):
                device["attributes"]["numa"] = {"int": self.pick(0, 1)}
            if self.maybe(0.3):
                device["attributes"]["firmware"] = {"version": self.pick("1.2.3", "2.0.0", "1.0.0-beta")}
            if self.maybe(0.3):
                device["attributes"]["shared"] = {"bool": self.pick(True, False)}
            if self.maybe(0.2):
                device["attributes"]["other.example.com/rack"] = {"string": self.pick("r1", "r2")}
            if self.maybe(0.1):
                device["attributes"]["gpu.example.com/full"] = {"string": "f"}
        if self.maybe(0.25):
            device["allowMultipleAllocations"] = True
            if self.maybe(0.6):
                device["capacity"]["memory"]["requestPolicy"] = self.policy()
        if shared and self.maybe(0.85):
            device["consumesCounters"] = [{"counterSet": self.pick("set0", "set0", "set1"), "counters": {
                "memory": {"value": self.pick("20Gi", "40Gi")}, **({"slots": {"value": "1"}} if self.maybe(0.6) else {})}}]
        if self.maybe(0.15):
            device["taints"] = [{"key": self.pick("broken", "old"), "value": self.pick("", "yes"), "effect": self.pick("NoSchedule", "NoExecute", "None", "NoSchedule")}]
        if "perDeviceNodeSelection" in where:
            device.update(self.pick({"nodeName": node}, {"allNodes": True}, {"nodeName": "elsewhere"},
                                    {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]}]}]}}))
        if self.maybe(0.05):
            device["bindsToNode"] = True
        if self.maybe(0.05):
            device["bindingConditions"] = ["ready"]
            device["bindingFailureConditions"] = ["failed"]
        return device

    def policy(self):
        if self.maybe(0.5):
            policy = {"default": self.pick("1Gi", "4Gi", "8Gi"), "validRange": {"min": self.pick("1Gi", "2Gi")}}
            if self.maybe(0.6):
                policy["validRange"]["max"] = self.pick("8Gi", "16Gi")
            if self.maybe(0.6):
                policy["validRange"]["step"] = self.pick("1Gi", "2Gi", "3Gi")
            return policy
        return {"default": self.pick("4Gi", "8Gi"), "validValues": [["4Gi", "8Gi"], ["4Gi", "8Gi", "16Gi"], ["8Gi"]][self.r.randrange(3)]}

    def classes(self):
        gpu = {"metadata": {"name": "gpu"}, "spec": {}}
        if self.maybe(0.5):
            gpu["spec"]["selectors"] = [{"cel": {"expression": 'device.driver == "gpu.example.com"'}}]
        if self.maybe(0.5):
            gpu["spec"]["extendedResourceName"] = "example.com/gpu"
        big = {"metadata": {"name": "big"}, "spec": {"selectors": [{"cel": {"expression": self.pick(*EXPRESSIONS)}}]}}
        # Two classes for one resource have no single answer: it depends on which was seen first.
        if self.maybe(0.15):
            big["spec"]["extendedResourceName"] = "example.com/other"
        return [gpu, big]

    def request(self):
        request = {"deviceClassName": self.pick("gpu", "gpu", "gpu", "big", "none" if self.maybe(0.2) else "gpu")}
        chance = self.r.random()
        if chance < 0.15:
            request["allocationMode"] = "All"
        elif chance < 0.97:
            request["allocationMode"] = "ExactCount"
            request["count"] = self.pick(1, 1, 1, 2, 2, 3)
        if self.maybe(0.45):
            request["selectors"] = [{"cel": {"expression": self.pick(*EXPRESSIONS)}} for _ in range(self.pick(1, 1, 2))]
        if self.maybe(0.2):
            request["tolerations"] = [self.pick({"operator": "Exists"}, {"key": "broken", "operator": "Exists"},
                                                {"key": "broken", "operator": "Equal", "value": "yes"}, {"key": "old", "effect": "NoSchedule"},
                                                {"key": "old", "value": "yes"})]
        if self.maybe(0.3):
            request["capacity"] = {"requests": {self.pick("memory", "memory", "memory", "bandwidth"): self.pick("1Gi", "3Gi", "4Gi", "5Gi", "8Gi", "12Gi", "40Gi", "100Gi")}}
        return request

    def claim(self, name):
        requests = []
        for i in range(self.pick(1, 1, 1, 2, 2, 3)):
            if self.maybe(0.22):
                options = [{"name": chr(97 + j), **self.request()} for j in range(self.pick(1, 2, 2, 3))]
                requests.append({"name": f"r{i}", "firstAvailable": options})
            else:
                exactly = self.request()
                if self.maybe(0.12):
                    exactly["adminAccess"] = True
                requests.append({"name": f"r{i}", "exactly": exactly})
        devices = {"requests": requests}
        if self.maybe(0.4):
            constraint = {self.pick("matchAttribute", "matchAttribute", "distinctAttribute"):
                          "gpu.example.com/" + self.pick("model", "numa", "index", "none", "full") if self.maybe(0.9) else "other.example.com/rack"}
            if self.maybe(0.4):
                names = [r["name"] for r in requests] + [f"{r['name']}/a" for r in requests if "firstAvailable" in r]
                constraint["requests"] = self.r.sample(names, self.r.randint(1, len(names)))
            devices["constraints"] = [constraint]
            if self.maybe(0.2):
                devices["constraints"].append({"distinctAttribute": "gpu.example.com/index"})
        return {"metadata": {"name": name, "namespace": "default", "uid": f"claim-{name}"}, "spec": {"devices": devices}}

    def busy(self, name, slices):
        owned = [(s, d) for s in slices for d in s["spec"].get("devices", [])]
        if not owned:
            return None
        results = []
        for slice_, device in self.r.sample(owned, min(len(owned), self.pick(1, 1, 2))):
            result = {"request": "r", "driver": slice_["spec"]["driver"], "pool": slice_["spec"]["pool"]["name"], "device": device["name"]}
            if device.get("allowMultipleAllocations"):
                result["shareID"] = f"0000000{len(results)}-0000-4000-8000-00000000000{self.r.randrange(10)}"
                if self.maybe(0.9):
                    result["consumedCapacity"] = {"memory": self.pick("1Gi", "8Gi", "16Gi", "36Gi")}
            if self.maybe(0.1):
                result["adminAccess"] = True
            results.append(result)
        allocation = {"devices": {"results": results}}
        return {"metadata": {"name": name, "namespace": "default", "uid": f"claim-{name}"},
                "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": len(results)}}]}},
                "status": {"allocation": allocation}}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--kind", help="of this file only")
    arguments.add_argument("--devices", type=float, default=0.25, help="the share of cases made about devices")
    arguments.add_argument("--from", dest="source", default="tests/conformance/scheduling")
    options = arguments.parse_args()
    random_source = random.Random(f"verdicts/{options.seed}")
    cases = []
    for file in sorted(glob.glob(os.path.join(options.source, "*.jsonl"))):
        with open(file) as lines:
            cases += [json.loads(line) for line in lines if line.strip()]
    mutator, devices = Mutator(random_source, cases), Devices(random_source)
    made = 0
    while made < options.count:
        if random_source.random() < options.devices:
            case = devices.case()
            if random_source.random() < 0.3:
                mutator.change(case, "DynamicResources")
        else:
            case = mutator.case(options.kind)
        if not is_sound(case):
            continue
        case["id"] = f"{case['id']}/made-{options.seed}-{made:05}"
        made += 1
        print(json.dumps(case, separators=(",", ":")))


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
