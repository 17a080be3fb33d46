"""The pictures: networks and maps as SVG, matplotlib figures of boundaries, learning curves and distributions.

One encoding everywhere: sign is hue (blue above zero, orange below, told apart by colour-blind eyes too), magnitude
is width, and the scale is printed. No number is drawn that was not handed in.
"""

from glassnet.drawing.figures import boundary_figure as boundary_figure
from glassnet.drawing.figures import distribution_figure as distribution_figure
from glassnet.drawing.figures import figure_svg as figure_svg
from glassnet.drawing.figures import learning_curves_figure as learning_curves_figure
from glassnet.drawing.network import network_svg as network_svg
from glassnet.drawing.regions import regions_svg as regions_svg
