"""python -m models.recipes.embedder --out models/shipped [--source DIR] [--data $MAILROOM_DATA]"""

from models.recipes.embedder.export import main

main()
