"""Settings of the corruption, the noise schedule and the timesteps."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import FiniteFloat, NonNegativeInt, PositiveFloat

Probability = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class _Schedule(_Section):
    num_timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    """T; timesteps are 0 … T − 1."""

    zero_terminal_snr: bool = False
    """Rescale so that nothing of the input is left at T − 1 (Lin et al. 2024)."""


class _BetaSchedule(_Schedule):
    beta_start: Beta = 1e-4
    """Beta at timestep 0."""

    beta_end: Beta = 0.02
    """Beta at timestep T − 1."""


class LinearSchedule(_BetaSchedule):
    """Betas that rise evenly from `beta_start` to `beta_end` (Ho et al. 2020)."""

    kind: Literal["linear"] = "linear"
    """Linear in beta."""


class ScaledLinearSchedule(_BetaSchedule):
    """Betas whose square roots rise evenly (Rombach et al. 2022)."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    """Linear in the square root of beta."""


class SigmoidSchedule(_BetaSchedule):
    """Betas that rise along a sigmoid from −6 to 6 (Xu et al. 2022)."""

    kind: Literal["sigmoid"] = "sigmoid"
    """Sigmoid in beta."""


class SquaredCosineSchedule(_Schedule):
    """ᾱ along a squared cosine, betas cut at 0.999 (Nichol & Dhariwal 2021)."""

    kind: Literal["squared_cosine"] = "squared_cosine"
    """Squared cosine in ᾱ."""

    offset: Annotated[float, Field(ge=0, lt=1)] = 0.008
    """Keeps the first betas from being too small."""


class CosineSchedule(_Schedule):
    """ᾱ along a part of a cosine to a power (Chen 2023)."""

    kind: Literal["cosine"] = "cosine"
    """Cosine in ᾱ, with a part and a power to choose."""

    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Where on the quarter wave it starts."""

    end: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Where on the quarter wave it ends."""

    power: Annotated[float, Field(gt=0, le=100)] = 1.0
    """τ: ᾱ is the squared cosine to this power. Above 1 more of the input is lost early."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must lie before end")
        return self


Schedule = Annotated[
    LinearSchedule
    | ScaledLinearSchedule
    | CosineSchedule
    | SigmoidSchedule
    | SquaredCosineSchedule,
    Field(discriminator="kind"),
]


class NoCorruption(_Section):
    """The network sees the clean input; with one fixed timestep, the ablation without noise."""

    kind: Literal["none"] = "none"
    """Clean input."""


class GaussianCorruption(_Section):
    """The input is mixed with Gaussian noise, as in any diffusion model."""

    kind: Literal["gaussian"] = "gaussian"
    """Gaussian noise."""


class SwappedPairCorruption(_Section):
    """The pair (before, after) is mixed with its swap (after, before); the paper's, for change."""

    kind: Literal["swapped_pair"] = "swapped_pair"
    """Swapped pair; more than two dates are rotated by one."""


class SelfCorruption(_Section):
    """The image is mixed with itself, a pure gain; the paper's, for segmentation."""

    kind: Literal["self"] = "self"
    """The image itself."""


class MixtureCorruption(_Section):
    """The input is mixed with structured and Gaussian noise together."""

    kind: Literal["mixture"] = "mixture"
    """A structured and a Gaussian part."""

    structured: Literal["swapped_pair", "self"] = "swapped_pair"
    """The structured part."""

    gaussian_share: Probability = 0.1
    """Share of the Gaussian part in the variance of the noise."""


Corruption = Annotated[
    NoCorruption | GaussianCorruption | SwappedPairCorruption | SelfCorruption | MixtureCorruption,
    Field(discriminator="kind"),
]


class UniformTimesteps(_Section):
    """All timesteps alike, as in the paper."""

    kind: Literal["uniform"] = "uniform"
    """All alike."""


class LogitNormalTimesteps(_Section):
    """Timesteps around a place, logit-normally (Esser et al. 2024)."""

    kind: Literal["logit_normal"] = "logit_normal"
    """Logit-normal in t / T."""

    mean: FiniteFloat = 0.0
    """Mean of logit(t / T): 0 the middle, negative early, positive late."""

    std: PositiveFloat = 1.0
    """Standard deviation of logit(t / T)."""


class EarlyTimesteps(_Section):
    """Timesteps towards 0."""

    kind: Literal["early"] = "early"
    """Density falls as a power of 1 − t / T."""

    power: PositiveFloat = 1.0
    """1: falls evenly; larger: more at the early end."""


class LateTimesteps(_Section):
    """Timesteps towards T − 1."""

    kind: Literal["late"] = "late"
    """Density rises as a power of t / T."""

    power: PositiveFloat = 1.0
    """1: rises evenly; larger: more at the late end."""


class FixedTimestep(_Section):
    """One timestep only."""

    kind: Literal["fixed"] = "fixed"
    """Always the same."""

    timestep: NonNegativeInt = 0
    """Which one."""


TimestepSampler = Annotated[
    UniformTimesteps | LogitNormalTimesteps | EarlyTimesteps | LateTimesteps | FixedTimestep,
    Field(discriminator="kind"),
]


class DiffusionConfig(_Section):
    """What stands in front of the network for one task: corruption, schedule, timesteps."""

    corruption: Corruption = SwappedPairCorruption()
    """What the input is mixed with."""

    schedule: Schedule = LinearSchedule()
    """How much of it at each timestep."""

    training_timesteps: TimestepSampler = UniformTimesteps()
    """Which timesteps are trained on."""

    min_gain: Probability = 0.2
    """Timesteps at which less than this is left of the difference between the dates (of the image,
    where there is one date) are not trained on: no label can be learnt there. 0: all, as in the
    paper."""

    inference_timesteps: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    """Timesteps at inference and validation, one forward pass each; logits are averaged. None:
    T − 1 where the noise is structured, 0 where it is Gaussian or none."""


class DenoisingConfig(_Section):
    """What pretraining asks of the network: to find the Gaussian noise in an image."""

    objective: Literal["epsilon", "velocity"] = "epsilon"
    """What is predicted: the noise ε (Ho et al. 2020), as the published weights do, or the velocity
    v = √ᾱ ε − √(1 − ᾱ) x_0 (Salimans & Ho 2022), which asks as much at every timestep."""

    schedule: Schedule = LinearSchedule()
    """How much noise at each timestep."""

    training_timesteps: TimestepSampler = UniformTimesteps()
    """Which timesteps are trained on."""
