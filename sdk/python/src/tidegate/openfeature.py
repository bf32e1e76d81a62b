"""A provider for OpenFeature (`pip install openfeature-sdk`): experiments as flags.

    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext

    api.set_provider(TidegateProvider(client))
    api.get_client().get_string_value("checkout", "control", EvaluationContext(targeting_key="u1"))

A text flag is the variation; a boolean one is whether it is another than the control, which is the first one. The targeting key is the id that the experiment assigns by; the attributes `user_id`,
`anonymous_id` and `session_id` say it by name. The exposure is sent as with `Client.variation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from tidegate.client import Client


class TidegateProvider(AbstractProvider):
    """Experiments of a client as flags. Closing the client is the application's."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def get_metadata(self) -> Metadata:
        return Metadata("tidegate")

    def resolve_string_details(self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[str]:
        variation = self._variation(flag_key, evaluation_context)
        if variation is None:
            return FlagResolutionDetails(value=default_value, reason=Reason.DEFAULT)
        return FlagResolutionDetails(value=variation, variant=variation, reason=Reason.SPLIT)

    def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[bool]:
        variation = self._variation(flag_key, evaluation_context)
        if variation is None:
            return FlagResolutionDetails(value=default_value, reason=Reason.DEFAULT)
        return FlagResolutionDetails(value=variation != self._client.experiments[flag_key].variations[0], variant=variation, reason=Reason.SPLIT)

    def resolve_integer_details(self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[int]:
        raise self._mismatch(flag_key)

    def resolve_float_details(self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[float]:
        raise self._mismatch(flag_key)

    def resolve_object_details(
        self, flag_key: str, default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType], evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        raise self._mismatch(flag_key)

    def track(self, tracking_event_name: str, evaluation_context: EvaluationContext | None = None, tracking_event_details: TrackingEventDetails | None = None) -> None:
        """A conversion of this name."""
        who = _who(evaluation_context)
        if evaluation_context is not None and evaluation_context.targeting_key and not who.get("user_id") and not who.get("anonymous_id"):
            who["user_id"] = evaluation_context.targeting_key
        details = tracking_event_details or TrackingEventDetails()
        self._client.conversion(tracking_event_name, value=details.value, properties=details.attributes, **who)

    def _variation(self, flag_key: str, context: EvaluationContext | None) -> str | None:
        experiment = self._client.experiments.get(flag_key)
        if experiment is None:
            raise FlagNotFoundError(f"there is no experiment {flag_key}")
        who = _who(context)
        if context is not None and context.targeting_key and not who.get(experiment.subject):
            who[experiment.subject] = context.targeting_key
        if not who.get(experiment.subject) and not self._client.has_in_scope(experiment.subject):
            raise TargetingKeyMissingError(f"experiment {flag_key} assigns by {experiment.subject}: give it as the targeting key or an attribute")
        return self._client.variation(flag_key, **who)

    def _mismatch(self, flag_key: str) -> Exception:
        if flag_key not in self._client.experiments:
            return FlagNotFoundError(f"there is no experiment {flag_key}")
        return TypeMismatchError(f"experiment {flag_key} gives a variation: ask for a text or a boolean")


def _who(context: EvaluationContext | None) -> dict[str, Any]:
    attributes = {} if context is None else context.attributes
    return {name: attributes[name] for name in ("user_id", "anonymous_id", "session_id") if attributes.get(name) is not None}
