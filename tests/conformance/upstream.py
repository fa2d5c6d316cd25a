"""The fixture classes of openstack/placement, executed as they are on top of stand-ins.

Nothing of OpenStack lies here: the module is read at run time from a checkout. What it imports (placement's objects,
oslo, os-traits ...) is replaced by small stand-ins whose database helpers talk REST to the server under test, by such
routes and microversions that generations come out as they do in the original.
"""
import importlib.abc
import importlib.machinery
import sys
import types
import uuid

REPLACED = ("placement", "oslo_config", "oslo_log", "oslo_policy", "oslo_utils", "oslotest", "os_resource_classes",
            "os_traits", "wsgi_intercept", "fixtures", "oslo_db", "oslo_context")


class World:
    """What the fixture that is being set up has asked for, and the server that it gets."""
    rest = None      # rest.Rest
    reset = None     # callable(profile): an empty server answers afterwards
    config = {}
    rules = None
    due = False      # a reset, before the next request

    @classmethod
    def begin(cls):
        cls.config, cls.rules, cls.due = {}, None, True

    @classmethod
    def ensure(cls):
        if cls.due:
            cls.due = False
            cls.reset(cls.profile())

    @classmethod
    def profile(cls):
        if cls.rules is not None:
            return "open-policy"
        if cls.config.get("cors.allowed_origin"):
            return "cors"
        if cls.config.get("oslo_policy.enforce_new_defaults"):
            return "secure-rbac"
        return "default"


def rest(*args, **kwargs):
    World.ensure()
    return World.rest(*args, **kwargs)


class Anything:
    """Can be called, and has every attribute."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Anything()

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Anything()


class AnyModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Anything()


class NameModule(AnyModule):
    """os_resource_classes.VCPU is "VCPU"."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return name


class SentinelModule(AnyModule):
    known = {}

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self.known.setdefault(name, str(uuid.uuid4()))


class ConfigFixture:
    def __init__(self, *args, **kwargs):
        self.conf = Anything()

    def setUp(self):
        pass

    cleanUp = setUp

    def config(self, group="DEFAULT", **options):
        for key, value in options.items():
            World.config[f"{group}.{key}"] = value


class PolicyFixture:
    def __init__(self, *args, **kwargs):
        pass

    def setUp(self):
        pass

    cleanUp = setUp

    @staticmethod
    def set_rules(rules, overwrite=True):
        World.rules = dict(rules)


class Named:
    def __init__(self, context=None, external_id=None, name=None, **kwargs):
        self.external_id, self.name = external_id, name

    def create(self):
        pass


class ResourceClass(Named):
    def create(self):
        ensure_rc(None, self.name)


class Provider:
    def __init__(self, uuid_, name):
        self.uuid, self.name, self._context = uuid_, name, None

    @property
    def generation(self):
        return rest("GET", f"/resource_providers/{self.uuid}")[1]["generation"]

    def set_aggregates(self, aggregates, **kwargs):
        # Up to 1.18 this leaves the generation alone, as the original's call does.
        rest("PUT", f"/resource_providers/{self.uuid}/aggregates", list(aggregates), version="1.18")


class Consumer:
    def __init__(self, user, project, consumer_id=None):
        self.uuid, self.user, self.project = consumer_id or str(uuid.uuid4()), user, project


def create_provider(context, name, *aggregates, **kwargs):
    provider = Provider(kwargs.get("uuid") or getattr(SENTINEL, name), name)
    body = {"name": name, "uuid": provider.uuid}
    if kwargs.get("parent"):
        body["parent_provider_uuid"] = kwargs["parent"]
    rest("POST", "/resource_providers", body)
    if aggregates:
        provider.set_aggregates(aggregates)
    return provider


def ensure_rc(context, name):
    if name.startswith("CUSTOM_"):
        rest("PUT", f"/resource_classes/{name}")


def add_inventory(provider, resource_class, total, **kwargs):
    ensure_rc(None, resource_class)
    kwargs.setdefault("max_unit", total)
    rest("POST", f"/resource_providers/{provider.uuid}/inventories",
         dict(kwargs, resource_class=resource_class, total=total,
              resource_provider_generation=provider.generation))


def set_traits(provider, *traits):
    for name in traits:
        if name.startswith("CUSTOM_"):
            rest("PUT", f"/traits/{name}")
    rest("PUT", f"/resource_providers/{provider.uuid}/traits",
         {"traits": list(traits), "resource_provider_generation": provider.generation})


def set_allocation(context, provider, consumer, amounts):
    now = rest("GET", f"/allocations/{consumer.uuid}")[1]
    # 1.37 knows no consumer types: the consumer's stays "unknown", as in the original.
    rest("PUT", f"/allocations/{consumer.uuid}",
         {"allocations": {provider.uuid: {"resources": dict(amounts)}}, "project_id": consumer.project.external_id,
          "user_id": consumer.user.external_id, "consumer_generation": now.get("consumer_generation")})


def create_user_and_project(context, prefix="fake"):
    return Named(external_id=f"{prefix}-user"), Named(external_id=f"{prefix}-project")


SENTINEL = SentinelModule("oslo_utils.fixture.uuidsentinel")


def stand_ins():
    def module(name, cls=AnyModule, **attributes):
        made = cls(name)
        made.__dict__.update(attributes)
        return name, made
    return dict([
        module("os_resource_classes", NameModule),
        module("os_traits", NameModule),
        ("oslo_utils.fixture.uuidsentinel", SENTINEL),
        module("oslo_utils.uuidutils", generate_uuid=lambda *args: str(uuid.uuid4())),
        module("oslo_config.fixture", Config=ConfigFixture),
        module("placement.policies", list_rules=lambda: [types.SimpleNamespace(name="*")]),
        module("placement.tests.unit.policy_fixture", PolicyFixture=PolicyFixture),
        module("placement.objects.user", User=Named),
        module("placement.objects.project", Project=Named),
        module("placement.objects.resource_class", ResourceClass=ResourceClass),
        module("placement.tests.functional.db.test_base", create_provider=create_provider, ensure_rc=ensure_rc,
               add_inventory=add_inventory, set_traits=set_traits, set_allocation=set_allocation,
               ensure_consumer=lambda context, user, project, consumer_id=None: Consumer(user, project, consumer_id),
               create_user_and_project=create_user_and_project),
    ])


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self):
        self.known = stand_ins()

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] in REPLACED:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = self.known.get(spec.name) or AnyModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        parent, _, leaf = module.__name__.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], leaf, module)


def load_fixtures(path):
    """The fixture classes in a module that gabbi can use: each sets the server up before its tests."""
    sys.meta_path.insert(0, Finder())
    for name in stand_ins():  # "from placement.objects import user" must find the submodule
        __import__(name)
    original = types.ModuleType("upstream_fixtures")
    original.__file__ = path
    with open(path, encoding="utf-8") as source:
        exec(compile(source.read(), path, "exec"), original.__dict__)  # the checkout that the caller named
    wrapped = types.ModuleType("upstream_fixtures_wrapped")

    def wrap(cls):
        class Wrapped(cls):
            def start_fixture(self):
                World.begin()
                cls.start_fixture(self)
                World.ensure()

            def stop_fixture(self):
                pass
        Wrapped.__name__ = cls.__name__
        return Wrapped

    for name, cls in list(vars(original).items()):
        if isinstance(cls, type) and issubclass(cls, original.APIFixture):
            setattr(wrapped, name, wrap(cls))
    return wrapped
