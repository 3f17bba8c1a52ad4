"""The numbers that the paper prints in its tables (Wu et al., ICLR 2023). They are not measured here.

A line contains the leading columns, separated by bars, and the certified accuracy in percent at each radius of the
table. ``0`` means that no image can be certified at this radius, ``-`` that the paper prints no number. The paper calls
its own models "Ours (DMAE ViT-B)". A dagger marks the number of parameters of two networks together.
"""

from dataclasses import dataclass

_PRINTED = {
    1: """
RS (Cohen et al., 2019)               |  26M  | no  | 49.0  37.0  29.0  19.0  12.0
SmoothAdv (Salman et al., 2019)       |  26M  | no  | 54.0  43.0  37.0  27.0  20.0
Consistency (Jeong & Shin, 2020)      |  26M  | no  | 50.0  44.0  34.0  24.0  17.0
MACER (Zhai et al., 2021)             |  26M  | no  | 57.0  43.0  31.0  25.0  14.0
Boosting (Horváth et al., 2022)       |  78M  | no  | 57.0  44.6  38.4  28.6  20.2
SmoothMix (Jeong et al., 2021)        |  26M  | no  | 50.0  43.0  38.0  26.0  17.0
Diffusion+BEiT (Carlini et al., 2022) | †857M | yes | 71.1  54.3  38.1  29.5  13.1
DMAE ViT-B                            |  87M  | no  | 69.6  57.9  47.8  35.4  22.5
DMAE ViT-L                            | 304M  | no  | 73.6  64.6  53.7  41.5  27.5
""",
    2: """
0.25 | RS (Cohen et al., 2019)               | 67.0  49.0   0     0     0     0
0.25 | SmoothAdv (Salman et al., 2019)       | 63.0  54.0   0     0     0     0
0.25 | Consistency (Jeong & Shin, 2020)      |  -     -     -     -     -     -
0.25 | MACER (Zhai et al., 2021)             | 68.0  57.0   0     0     0     0
0.25 | Boosting (Horváth et al., 2022)       | 65.6  57.0   0     0     0     0
0.25 | SmoothMix (Jeong et al., 2021)        |  -     -     -     -     -     -
0.25 | Diffusion+BEiT (Carlini et al., 2022) | 82.8  71.1   0     0     0     0
0.25 | DMAE ViT-B                            | 78.1  69.6   0     0     0     0
0.25 | DMAE ViT-L                            | 81.7  73.6   0     0     0     0
0.5  | RS (Cohen et al., 2019)               | 57.0  46.0  37.0  29.0   0     0
0.5  | SmoothAdv (Salman et al., 2019)       | 54.0  49.0  43.0  37.0   0     0
0.5  | Consistency (Jeong & Shin, 2020)      | 55.0  50.0  44.0  34.0   0     0
0.5  | MACER (Zhai et al., 2021)             | 64.0  53.0  43.0  31.0   0     0
0.5  | Boosting (Horváth et al., 2022)       | 57.0  52.0  44.6  38.4   0     0
0.5  | SmoothMix (Jeong et al., 2021)        | 55.0  50.0  43.0  38.0   0     0
0.5  | Diffusion+BEiT (Carlini et al., 2022) | 77.1  67.8  54.3  38.1   0     0
0.5  | DMAE ViT-B                            | 73.0  64.8  57.9  47.8   0     0
0.5  | DMAE ViT-L                            | 77.6  72.4  64.6  53.7   0     0
1.0  | RS (Cohen et al., 2019)               | 44.0  38.0  33.0  26.0  19.0  12.0
1.0  | SmoothAdv (Salman et al., 2019)       | 40.0  37.0  34.0  30.0  27.0  20.0
1.0  | Consistency (Jeong & Shin, 2020)      | 41.0  37.0  32.0  28.0  24.0  17.0
1.0  | MACER (Zhai et al., 2021)             | 48.0  43.0  36.0  30.0  25.0  14.0
1.0  | Boosting (Horváth et al., 2022)       | 44.6  40.2  37.2  34.0  28.6  20.2
1.0  | SmoothMix (Jeong et al., 2021)        | 40.0  37.0  34.0  30.0  26.0  20.0
1.0  | Diffusion+BEiT (Carlini et al., 2022) | 60.0  50.0  42.0  35.5  29.5  13.1
1.0  | DMAE ViT-B                            | 58.0  53.3  47.1  41.7  35.4  22.5
1.0  | DMAE ViT-L                            | 65.7  59.0  53.0  47.9  41.5  27.5
""",
    3: """
RS (Cohen et al., 2019)          |  1.7M | no  | 61.0  43.0  32.0  23.0
SmoothAdv (Salman et al., 2019)  |  1.7M | yes | 74.8  60.8  47.0  37.8
Consistency (Jeong & Shin, 2020) |  1.7M | no  | 68.8  58.1  48.5  37.8
MACER (Zhai et al., 2021)        |  1.7M | no  | 71.0  59.0  46.0  38.0
Boosting (Horváth et al., 2022)  |  17M  | no  | 70.6  60.4  52.4  38.8
SmoothMix (Jeong et al., 2021)   |  1.7M | no  | 67.9  57.9  47.7  37.2
Diffusion (Carlini et al., 2022) | †137M | yes | 79.3  65.5  48.7  35.5
DMAE ViT-B                       |  87M  | yes | 79.2  64.6  47.3  36.1
+ continued pre-training         |  87M  | yes | 80.8  67.1  49.7  37.7
""",
    4: """
0.25 | MAE  | 32.5  13.3   0     0     0     0
0.25 | DMAE | 58.7  45.3   0     0     0     0
0.5  | MAE  | 13.3   6.9   2.6   0.1   0     0
0.5  | DMAE | 26.4  16.7  10.6   5.1   0     0
1.0  | MAE  |  3.0   2.2   1.2   0.5   0.4   0
1.0  | DMAE |  7.6   5.4   3.5   2.4   1.6   0.4
""",
    5: """
0.25 |  700 | 78.8  68.8   0     0     0     0
0.25 | 1100 | 78.1  69.6   0     0     0     0
0.5  |  700 | 72.0  64.4  55.5  45.3   0     0
0.5  | 1100 | 73.0  64.8  57.9  47.8   0     0
1.0  |  700 | 56.4  50.7  46.2  40.4  34.9  23.3
1.0  | 1100 | 58.0  53.3  47.1  41.7  35.4  22.5
""",
    6: """
0.25 | DMAE-L+RS | 81.8  72.6   0     0     0     0
0.25 | DMAE-L+CR | 81.7  73.6   0     0     0     0
0.5  | DMAE-L+RS | 76.4  69.5  59.3  45.8   0     0
0.5  | DMAE-L+CR | 77.6  72.4  64.6  53.7   0     0
1.0  | DMAE-L+RS | 63.2  57.0  49.8  42.9  35.9  21.8
1.0  | DMAE-L+CR | 65.7  59.0  53.0  47.9  41.5  27.5
""",
    9: """
0.5 | MAE-B+RS  | 72.2  61.8  51.5  37.7   0     0
0.5 | DMAE-B+RS | 72.6  63.0  53.2  39.7   0     0
0.5 | MAE-B+CR  | 72.0  64.1  55.9  46.2   0     0
0.5 | DMAE-B+CR | 73.0  64.8  57.9  47.8   0     0
""",
    10: """
0.25      | 0.25 | 90.4  81.2  65.3  44.2   0
0.25      | 0.5  | 44.5  35.4  26.8  18.8  11.3
0.5       | 0.25 | 72.2  65.2  54.1  41.6   0
0.5       | 0.5  | 74.5  66.5  57.3  46.3  34.7
[0, 0.75] | 0.25 | 90.2  80.9  66.1  45.2   0
[0, 0.75] | 0.5  | 75.6  67.4  58.5  45.7  35.5
""",
}

_IMAGENET = "1,000 images of ImageNet's validation set, n = 10,000"
NOTES = {
    1: f"{_IMAGENET}; rows with a reference are best results over sigma of other papers; † diffusion model of 552M"
    " and BEiT-L of 305M",
    2: f"{_IMAGENET}; rows with a reference are of other papers",
    3: "CIFAR-10's test set, n = 100,000; rows with a reference are best results over sigma of other papers; "
    "† diffusion model of 50M and ViT-B of 87M",
    **{number: f"{_IMAGENET}" for number in (4, 5, 6, 9)},
    10: "1,000 images of CIFAR-10, n = 10,000",
}
"""Number of a table -> how its numbers were made, for a note below the table."""


@dataclass(frozen=True)
class Printed:
    """A row of a table as the paper prints it.

    Attributes:
        lead: text of the leading columns.
        shares: certified accuracy in [0, 1] at each radius of the table; None if the paper prints no number.
        zeros: whether the paper prints ``0`` and not ``0.0``, at each radius.
    """

    lead: tuple[str, ...]
    shares: tuple[float | None, ...]
    zeros: tuple[bool, ...]


def printed_rows(number: int) -> list[Printed]:
    """Return the rows of table ``number`` in the order of the paper."""
    rows = []
    for line in _PRINTED[number].strip().splitlines():
        *lead, values = (part.strip() for part in line.split("|"))
        cells = values.split()
        shares = tuple(None if cell == "-" else round(float(cell) / 100, 6) for cell in cells)
        rows.append(Printed(tuple(lead), shares, tuple(cell == "0" for cell in cells)))
    return rows
