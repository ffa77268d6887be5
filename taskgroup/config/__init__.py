"""What every configuration model shares: one base class, number parsing, YAML reading.

Each package declares its own models beside the code that uses them; nothing here knows one.
"""

from taskgroup.config.base import NUMBER_SCHEMA as NUMBER_SCHEMA
from taskgroup.config.base import Config as Config
from taskgroup.config.base import Fraction255 as Fraction255
from taskgroup.config.base import parse as parse
from taskgroup.config.base import parse_number as parse_number
from taskgroup.config.documents import parse_yaml as parse_yaml
from taskgroup.config.documents import parse_yaml_value as parse_yaml_value
from taskgroup.config.documents import read_yaml as read_yaml
from taskgroup.config.documents import to_yaml as to_yaml
from taskgroup.config.messages import describe as describe
from taskgroup.config.messages import describe_option as describe_option
from taskgroup.config.trees import flat as flat
