"""moto_server as the tests need it: many starts, many resets, thousands of calls.

moto answers each call in a thread of its own, and its tables are not made for that: of two instances
that are ended at the same moment, one was replaced. Here one call is answered at a time.

A call of moto 5.2.5 takes some 3 ms of a processor, half of which goes into looking up what never
changes while it runs. And each reset makes a thousand of the region's newest images anew, with a
snapshot of each, which every filter then walks through. The images of moto's own list stay.
"""

import functools
import logging
import os
import threading

import moto.backends
import moto.core.responses
import moto.ec2.models.amis  # Reads the list of images, before the variable below says not to.
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main

# That it is set leaves out the newest images; the file was to be read at the import.
os.environ["MOTO_AMIS_PATH"] = os.devnull

modules = frozenset(moto.backends.list_of_moto_modules())
moto.backends.list_of_moto_modules = lambda: modules
moto.core.responses.method_names_from_class = functools.cache(
    moto.core.responses.method_names_from_class
)
DomainDispatcherApplication.get_backend_for_host = functools.cache(
    DomainDispatcherApplication.get_backend_for_host
)

# A line for each call says nothing but that there was one.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

one_at_a_time = threading.Lock()
answer = DomainDispatcherApplication.__call__


def answer_alone(self, environ, start_response):
    with one_at_a_time:
        return answer(self, environ, start_response)


DomainDispatcherApplication.__call__ = answer_alone

main()
